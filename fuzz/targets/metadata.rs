//! Metadata documents: of a protected resource, and of an authorization server.
#![no_main]

use agent_auth::oauth::{
    metadata::{ResourceMetadata, ServerMetadata},
    registration::authentication,
};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|data: &[u8]| {
    let url = Url::parse("https://mcp.example/public/mcp").expect("a URL");
    let place = Url::parse("https://mcp.example/.well-known/oauth-protected-resource").expect("a URL");
    if let Ok(Some(metadata)) = ResourceMetadata::read(data, &url, &place) {
        let resource = Url::parse(&metadata.resource).expect("a resource is a URL");
        assert_eq!(resource.origin(), url.origin(), "of the server that was asked");
    }
    if let Ok(Some(server)) = ServerMetadata::read(data, "https://as.example") {
        let issuer = server.issuer.trim_end_matches('/');
        assert_eq!(issuer, "https://as.example", "of the issuer that was asked");
        let _ = authentication(&server);
    }
});
