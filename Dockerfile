# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The dependencies first, under an empty crate: this layer is built again only when Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked --lib --bins
COPY askama.toml build.rs ./
COPY config config
COPY migrations migrations
COPY src src
# Cargo compares times: what was copied can be older than the empty crate that was just built.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin agent-auth \
    && mkdir /data

# No shell and no package manager; glibc, CA certificates and the user `nonroot` (65532) are there.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="agent-auth" \
      org.opencontainers.image.description="Self-hosted OAuth token broker for AI agents" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /src/target/release/agent-auth /usr/local/bin/agent-auth
# A new volume takes over the owner of the folder it is mounted on.
COPY --from=build --chown=65532:65532 /data /var/lib/agent-auth
USER 65532:65532
ENV AGENT_AUTH_LISTEN=0.0.0.0:8080 \
    AGENT_AUTH_DATA_DIR=/var/lib/agent-auth
VOLUME /var/lib/agent-auth
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/agent-auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/agent-auth"]
CMD ["serve"]
