// Made by scripts/generate.mjs from the server's OpenAPI description. Do not edit: run `npm run generate`.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description What an agent requests. */
        AuthAuthenticateRequest: {
            /** @description The agent that the token is for, if any. */
            agentId?: string | null;
            /**
             * @description The unchanged `WWW-Authenticate` header with which an API or an MCP server rejected a token: the scopes that it
             *     names are requested too.
             */
            challenge?: string | null;
            /**
             * @description Do not begin a consent.
             * @default false
             */
            checkOnly?: boolean;
            /**
             * @description Begin a consent even if there is a token.
             * @default false
             */
            forceNew?: boolean;
            grant?: components["schemas"]["AuthGrant"] | null;
            /**
             * @description Whether a new token becomes the default.
             * @default true
             */
            isDefault?: boolean;
            /** @description The account that the person probably has at the provider, such as an email address; passed on to it. */
            loginHint?: string | null;
            /** @description The id of the caller on the platform. If absent: the current user. */
            lsUserId?: string | null;
            /**
             * Format: int64
             * @description The least remaining lifetime of the token in seconds, from 0 to 86400. If it has less, it is refreshed first.
             */
            minTtl?: number | null;
            /** @description The provider's id. */
            provider: string;
            /** @description One of the provider's `allowedRedirectUris`. */
            redirectUri?: string | null;
            /** @description One of the provider's `returnUrls`: where the browser is sent after the consent, with `auth_id` added. */
            returnUrl?: string | null;
            /** @description The scopes the token must have. */
            scopes: string[];
            /**
             * Format: uuid
             * @description Use only this token.
             */
            tokenId?: string | null;
            /**
             * @description Accepted for compatibility; it has no effect.
             * @default false
             */
            useAgentBuilderPublicOauth?: boolean;
            /** @description The user whose token is requested. If absent: `lsUserId`, or else the current user. */
            userId?: string | null;
        };
        /** @description The response. */
        AuthAuthenticateResponse: {
            /**
             * Format: uuid
             * @description The id for `wait`.
             */
            authId?: string | null;
            /**
             * Format: int64
             * @description ... within so many seconds.
             */
            expiresIn?: number | null;
            /** @description Details of the token. */
            metadata?: {
                [key: string]: unknown;
            } | null;
            status: components["schemas"]["AuthStatus"];
            /** @description The access token, to be sent as a Bearer token. */
            token?: string | null;
            /** @description Where to send the person. */
            url?: string | null;
            /** @description With `grant: "device"`: what the person enters ... */
            userCode?: string | null;
            userId?: string | null;
            /** @description ... here ... */
            verificationUri?: string | null;
            /** @description ... or opens, with the code in it ... */
            verificationUriComplete?: string | null;
        };
        /**
         * @description How consent is requested.
         * @enum {string}
         */
        AuthGrant: "authorization_code" | "device";
        /**
         * @description The client authentication method at a token endpoint (RFC 7591 section 2, `tokenEndpointAuthMethod`).
         * @enum {string}
         */
        AuthMethod: "none" | "client_secret_basic" | "client_secret_post";
        /** @description Who consented. */
        AuthorizationConfirmRequest: {
            /** @description The `reference` with which the browser came back. */
            reference: string;
            /** @description The user who is signed in to the application in the browser that came back. */
            userId: string;
        };
        /**
         * @description The status.
         * @enum {string}
         */
        AuthStatus: "completed" | "pending" | "connection_required" | "token_expired";
        /** @description The response. */
        AuthWaitResponse: {
            /** @description Why the consent ended without a token: an error code of the provider or of agent-auth. */
            error?: string | null;
            /** @description The reason for people. */
            errorDescription?: string | null;
            status: components["schemas"]["AuthWaitStatus"];
            /** @description The access token. */
            token?: string | null;
        };
        /**
         * @description The status.
         * @enum {string}
         */
        AuthWaitStatus: "completed" | "pending" | "timeout" | "not_found";
        /** @description A confirmed consent. */
        Confirmed: {
            /** Format: uuid */
            authId: string;
            status: string;
        };
        /**
         * @description How strictly a consent is bound, the least strict mode first; each includes the ones before it.
         * @enum {string}
         */
        ConsentMode: "direct" | "confirm" | "verify";
        /** @description What was deleted. */
        Deleted: {
            message: string;
            providerId?: string | null;
            /** @description The number of grants that are still to be revoked; this continues in the background. */
            revocationQueued: number;
            /** @description The number of tokens. */
            tokens: number;
            /** @description Whether every grant has been revoked at the provider. */
            upstreamRevoked: boolean;
        };
        /** @description The result of deleting a provider. */
        DeletedProvider: {
            /** @description A sentence for people. */
            message: string;
            /** @description The number of grants that are still to be revoked; this continues in the background. */
            revocationQueued: number;
            /** @description Whether every grant of its tokens has been revoked at the provider. */
            upstreamRevoked: boolean;
        };
        /** @description The body of every other error. */
        ErrorBody: {
            /** @description A code for programs. */
            code: string;
            /** @description A sentence for people. */
            detail: string;
        };
        /**
         * @description How the tokens of a provider are obtained.
         * @enum {string}
         */
        GrantType: "authorization_code" | "client_credentials" | "api_key";
        /** @description The body of a 422. */
        HTTPValidationError: {
            /** @description Every fault of the request. */
            detail: components["schemas"]["ValidationError"][];
        };
        /** @description A provider to create. */
        OAuthProviderCreateRequest: {
            allowedRedirectUris?: string[];
            /** @description Requested in addition to the scopes that an agent names. */
            alwaysScopes?: string[] | null;
            /**
             * @description The authorization endpoint: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`. Optional with `template`,
             *     and with another `grantType` than `authorization_code`.
             */
            authUrl: string;
            /**
             * @description Added to every authorization URL. The protocol's own parameters cannot be set here. They override those of
             *     the template, or of the known provider that the token endpoint belongs to.
             */
            authorizationParams?: {
                [key: string]: string;
            };
            /** @description Optional with `grant_type: "api_key"`. */
            clientId: string;
            /** @description With `grant_type: "api_key"`, the key that the whole workspace uses; if absent, each person enters their own. */
            clientSecret?: string | null;
            /**
             * @description `S256` is always sent; `plain` is accepted for compatibility.
             * @default S256
             */
            codeChallengeMethod?: string;
            consent?: components["schemas"]["ConsentMode"] | null;
            /** @description Requested when an agent names no scope. */
            defaultScopes?: string[] | null;
            /** @description The device authorization endpoint (RFC 8628), for `grant: "device"`. */
            deviceAuthorizationUrl?: string | null;
            grantType?: components["schemas"]["GrantType"] | null;
            /**
             * @description The issuer of an authorization server with metadata (RFC 8414 or `OpenID` Connect Discovery): its endpoints and
             *     capabilities are read from there; values in this body override them. Then `authUrl` and `tokenUrl` are
             *     optional.
             */
            issuer?: string | null;
            /** @description Optional with `template`. */
            name: string;
            /** @description Never send `resource`. */
            omitResource?: boolean | null;
            /** @description Plain characters; unique in the workspace. Part of the callback address. */
            providerId: string;
            providerType?: components["schemas"]["ProviderType"] | null;
            /** @description The endpoint for refreshes, if it is not `tokenUrl`. */
            refreshUrl?: string | null;
            /** @description The protected resource that the tokens are for (RFC 8707). */
            resource?: string | null;
            /** @description Addresses of applications to which a browser may be sent after a consent (`returnUrl`), compared byte by byte. */
            returnUrls?: string[] | null;
            /**
             * @description The revocation endpoint (RFC 7009), where grants are revoked when their tokens are deleted. Known providers
             *     have one built in.
             */
            revocationUrl?: string | null;
            /** @description The separator between two scopes; a space if absent. */
            scopeSeparator?: string | null;
            /**
             * @description The name of an entry of the catalogue (`agent-auth provider catalog`). It supplies every value that this body
             *     does not; `name`, `authUrl` and `tokenUrl` are then optional. Without it, well-known providers are recognized
             *     by the host of the token endpoint or by `providerType`, and their provider-specific behaviour is applied.
             */
            template?: string | null;
            /** @description Values for the placeholders of the template, e.g. `{"tenant": "common"}`. */
            templateParams?: {
                [key: string]: string;
            } | null;
            /** @default client_secret_post */
            tokenEndpointAuthMethod?: components["schemas"]["AuthMethod"];
            tokenFormat?: components["schemas"]["TokenFormat"] | null;
            /** @description Added to every token request. Do not put secrets here: they are shown in responses. */
            tokenParams?: {
                [key: string]: string;
            } | null;
            /** @description The token endpoint. The same rules apply, but it is required with `client_credentials`. */
            tokenUrl: string;
            /**
             * @description The endpoint that identifies the account of an access token (OIDC userinfo, or JSON with an `id`). It is called
             *     after a consent if the token response names no account. Known providers have one built in.
             */
            userinfoUrl?: string | null;
            /** @default false */
            usesPkce?: boolean;
        };
        /** @description A provider in a response. */
        OAuthProviderResponse: {
            allowedRedirectUris: string[];
            alwaysScopes: string[];
            authUrl: string;
            authorizationParams: {
                [key: string]: string;
            };
            /**
             * @description The error with which the token endpoint rejects the client, until it accepts it again: correct the client's
             *     settings. The stored tokens are kept.
             */
            clientError?: string | null;
            clientId: string;
            codeChallengeMethod?: string | null;
            consent?: components["schemas"]["ConsentMode"] | null;
            /** Format: date-time */
            createdAt: string;
            defaultScopes: string[];
            deviceAuthorizationUrl?: string | null;
            grantType: components["schemas"]["GrantType"];
            /** Format: uuid */
            id: string;
            isDynamicClient: boolean;
            /** @description The issuer of the authorization server, if it is known. */
            issuer?: string | null;
            mcpServerUrl?: string | null;
            name: string;
            omitResource: boolean;
            organizationId: string;
            providerId: string;
            providerType?: string | null;
            /** @description The callback address of this provider. Register it there as the redirect URI, exactly as it is here. */
            redirectUri: string;
            refreshUrl?: string | null;
            resource?: string | null;
            returnUrls: string[];
            revocationUrl?: string | null;
            scopeSeparator?: string | null;
            template?: string | null;
            tokenEndpointAuthMethod: string;
            tokenFormat: components["schemas"]["TokenFormat"];
            tokenParams: {
                [key: string]: string;
            };
            tokenUrl: string;
            /** Format: date-time */
            updatedAt: string;
            userinfoUrl?: string | null;
            usesPkce: boolean;
        };
        /** @description A change of a provider. Fields that are absent or null keep their values. */
        OAuthProviderUpdateRequest: {
            allowedRedirectUris?: string[] | null;
            alwaysScopes?: string[] | null;
            authUrl?: string | null;
            authorizationParams?: {
                [key: string]: string;
            } | null;
            clientId?: string | null;
            /** @description Also needed, as it is, to change an endpoint of a provider that has one. */
            clientSecret?: string | null;
            /** @description `S256` is always sent; `plain` is accepted for compatibility. */
            codeChallengeMethod?: string | null;
            consent?: components["schemas"]["ConsentMode"] | null;
            defaultScopes?: string[] | null;
            deviceAuthorizationUrl?: string | null;
            /**
             * Format: int64
             * @description Confirms a change of endpoints that exposes this number of grants, if it does not bring the stored
             *     `clientSecret`. The 409 without it states the number.
             */
            exposeGrants?: number | null;
            name?: string | null;
            omitResource?: boolean | null;
            refreshUrl?: string | null;
            resource?: string | null;
            returnUrls?: string[] | null;
            revocationUrl?: string | null;
            scopeSeparator?: string | null;
            /** @description Applies the values of this catalogue entry; values in this body override them. */
            template?: string | null;
            templateParams?: {
                [key: string]: string;
            } | null;
            tokenEndpointAuthMethod?: components["schemas"]["AuthMethod"] | null;
            tokenFormat?: components["schemas"]["TokenFormat"] | null;
            tokenParams?: {
                [key: string]: string;
            } | null;
            tokenUrl?: string | null;
            userinfoUrl?: string | null;
            usesPkce?: boolean | null;
        };
        /** @description Whether there is a token. */
        OAuthTokenStatusResponse: {
            hasToken: boolean;
        };
        /** @description A token in a list. */
        OAuthTokenSummary: {
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt?: string | null;
            /** Format: uuid */
            id: string;
            isDefault: boolean;
            providerAccountLabel?: string | null;
            providerId: string;
            scopes: string[];
            /** Format: date-time */
            updatedAt: string;
        };
        /**
         * @description A family of providers.
         * @enum {string}
         */
        ProviderType: "microsoft" | "salesforce" | "slack" | "x";
        /**
         * @description How the parameters of a token request are sent.
         * @enum {string}
         */
        TokenFormat: "form" | "json" | "query";
        /** @description A report of a token that an API rejected. */
        TokenReportRequest: {
            /**
             * @description The access token that was rejected. If it is given, a late report has no effect on a newer token. Required with an
             *     agent's key if the token cannot be refreshed, because the report then ends the grant.
             */
            token?: string | null;
        };
        /** @description The result of a report. */
        TokenReportResponse: {
            /** @description One sentence. */
            detail: string;
            /**
             * Format: date-time
             * @description When it expires.
             */
            expiresAt?: string | null;
            status: components["schemas"]["TokenReportStatus"];
            /** @description The access token to use now. */
            token?: string | null;
        };
        /**
         * @description In one word.
         * @enum {string}
         */
        TokenReportStatus: "refreshed" | "consent_needed";
        /** @description One fault of a request, in the shape of `FastAPI`. */
        ValidationError: {
            /** @description Where it is: `body`, `query`, `path` or `header`, followed by the path to it from there. */
            loc: unknown[];
            /** @description What is wrong, for people. */
            msg: string;
            /** @description What is wrong, for programs. */
            type: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type AuthAuthenticateRequest = components['schemas']['AuthAuthenticateRequest'];
export type AuthAuthenticateResponse = components['schemas']['AuthAuthenticateResponse'];
export type AuthGrant = components['schemas']['AuthGrant'];
export type AuthMethod = components['schemas']['AuthMethod'];
export type AuthorizationConfirmRequest = components['schemas']['AuthorizationConfirmRequest'];
export type AuthStatus = components['schemas']['AuthStatus'];
export type AuthWaitResponse = components['schemas']['AuthWaitResponse'];
export type AuthWaitStatus = components['schemas']['AuthWaitStatus'];
export type Confirmed = components['schemas']['Confirmed'];
export type ConsentMode = components['schemas']['ConsentMode'];
export type Deleted = components['schemas']['Deleted'];
export type DeletedProvider = components['schemas']['DeletedProvider'];
export type ErrorBody = components['schemas']['ErrorBody'];
export type GrantType = components['schemas']['GrantType'];
export type HttpValidationError = components['schemas']['HTTPValidationError'];
export type OAuthProviderCreateRequest = components['schemas']['OAuthProviderCreateRequest'];
export type OAuthProviderResponse = components['schemas']['OAuthProviderResponse'];
export type OAuthProviderUpdateRequest = components['schemas']['OAuthProviderUpdateRequest'];
export type OAuthTokenStatusResponse = components['schemas']['OAuthTokenStatusResponse'];
export type OAuthTokenSummary = components['schemas']['OAuthTokenSummary'];
export type ProviderType = components['schemas']['ProviderType'];
export type TokenFormat = components['schemas']['TokenFormat'];
export type TokenReportRequest = components['schemas']['TokenReportRequest'];
export type TokenReportResponse = components['schemas']['TokenReportResponse'];
export type TokenReportStatus = components['schemas']['TokenReportStatus'];
export type ValidationError = components['schemas']['ValidationError'];
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
