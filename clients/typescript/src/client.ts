// The client: one method for each operation.

import { AgentAuthError, ApiError, ConnectionError, ConsentError, WaitTimeoutError } from "./errors.js";
import { type CallOptions, type ClientOptions, Http, sleep } from "./http.js";
import { currentGraph } from "./langgraph.js";
import { toCamelCase, toSnakeCase } from "./names.js";
import type {
  AuthAuthenticateRequest,
  AuthAuthenticateResponse,
  AuthorizationConfirmRequest,
  AuthWaitResponse,
  Confirmed,
  Deleted,
  DeletedProvider,
  OAuthProviderCreateRequest,
  OAuthProviderResponse,
  OAuthProviderUpdateRequest,
  OAuthTokenStatusResponse,
  OAuthTokenSummary,
  TokenReportRequest,
  TokenReportResponse,
} from "./openapi.js";

/**
 * The result of {@link Client.authenticate}. `status` says which fields it has:
 *
 * - `"completed"`: `token` is a valid access token.
 * - `"pending"`: send the person to `authUrl`, then wait for `authId`.
 * - `"connection_required"`, `"token_expired"`: send the person to `authUrl`, then call `authenticate` again.
 */
export type AuthResult =
  | (AuthFields & { status: "completed"; token: string })
  | (AuthFields & { status: "pending"; authUrl: string; authId: string })
  | (AuthFields & { status: "connection_required" | "token_expired" });

type AuthFields = Omit<AuthAuthenticateResponse, "url" | "status"> & {
  /** Where to send the person. */
  authUrl?: string | null;
};

/** The result of {@link Client.waitForCompletion}. */
export interface CompletedAuth {
  status: "completed";
  /** A valid access token. */
  token: string;
}

/** Options of {@link Client.waitForCompletion}. */
export interface WaitOptions extends CallOptions {
  /** Seconds to wait for the person. Default: 300. */
  timeout?: number | undefined;
}

const API = "/v2/auth";

// The longest that one request waits; proxies end requests that wait longer, many after 60 seconds.
const POLL_SECONDS = 25;

/**
 * A client of agent-auth.
 *
 * @example
 * const client = new Client({ apiKey, apiUrl: "https://auth.example.com" });
 * let auth = await client.authenticate({ provider: "github", scopes: ["read:user"], userId: "ada" });
 * if (auth.status === "pending") {
 *   console.log("Please open", auth.authUrl);
 *   auth = await client.waitForCompletion(auth.authId);
 * }
 */
export class Client {
  readonly #http: Http;

  /** @throws {AgentAuthError} if the address or the API key is missing */
  constructor(options: ClientOptions = {}) {
    this.#http = new Http(options);
  }

  /**
   * Returns an access token, or starts a consent.
   *
   * In a node of a LangGraph.js graph, a consent interrupts the graph, with `auth_url` for the person; resume it when the person
   * has consented. The node then runs again from its start and gets the token. If it is resumed too early, it is interrupted again.
   * `agentId` defaults to the `assistant_id` of the run's configuration.
   */
  async authenticate(request: AuthAuthenticateRequest, options?: CallOptions): Promise<AuthResult> {
    const graph = await currentGraph();
    const agentId = request.agentId ?? graph?.assistantId;
    const answer = await this.#http.send(
      { method: "POST", path: `${API}/authenticate`, body: toSnakeCase({ ...request, agentId }) },
      options,
    );
    const { url: authUrl, ...fields } = toCamelCase(answer as object) as AuthAuthenticateResponse;
    const result = { ...fields, authUrl } as AuthResult;
    // An interrupt returns once for each time that the graph was resumed, and then ends the node.
    while (graph && result.status !== "completed") {
      graph.interrupt({
        message: `OAuth authentication required for provider '${request.provider}'.`,
        auth_url: authUrl,
        provider: request.provider,
        scopes: request.scopes,
      });
    }
    return result;
  }

  /**
   * Waits until the person has consented, and returns the token.
   *
   * @throws {ConsentError} if the consent was denied, failed or expired
   * @throws {WaitTimeoutError} if the person has not decided after `timeout` seconds
   */
  async waitForCompletion(authId: string, { timeout = 300, ...options }: WaitOptions = {}): Promise<CompletedAuth> {
    const deadline = Date.now() + timeout * 1000;
    for (;;) {
      const seconds = Math.max(0, Math.ceil(Math.min(POLL_SECONDS, (deadline - Date.now()) / 1000)));
      const answer = await this.#poll(authId, seconds, options, deadline);
      if (answer?.status === "completed") return { status: "completed", token: answer.token as string };
      if (answer?.status === "not_found") throw consentError(answer);
      if (Date.now() >= deadline) throw new WaitTimeoutError(`The person has not decided within ${timeout} seconds.`);
    }
  }

  /** One request of a wait; undefined if the server could not be reached, also by a proxy: it may be restarting. */
  async #poll(id: string, seconds: number, options: CallOptions, deadline: number): Promise<AuthWaitResponse | undefined> {
    try {
      const path = `${API}/wait/${encodeURIComponent(id)}`;
      const answer = await this.#http.send(
        { method: "GET", path, query: { timeout: String(seconds) }, longPoll: seconds },
        options,
      );
      return toCamelCase(answer as object) as AuthWaitResponse;
    } catch (error) {
      if (!isPassing(error) || Date.now() >= deadline) throw error;
      await sleep(1, options.signal);
      return undefined;
    }
  }

  /** Says which user consented, for consents in the mode `verify`. There is a token only after this. */
  async confirmAuthorization(authId: string, confirmation: AuthorizationConfirmRequest, options?: CallOptions): Promise<Confirmed> {
    const path = `${API}/authorizations/${encodeURIComponent(authId)}/confirm`;
    return this.#fields({ method: "POST", path, body: toSnakeCase(confirmation) }, options);
  }

  /** Creates a provider. Requires a key with the role `admin`, as do updating and deleting one. */
  async createOAuthProvider(provider: OAuthProviderCreateRequest, options?: CallOptions): Promise<OAuthProviderResponse> {
    return this.#fields({ method: "POST", path: `${API}/providers`, body: toSnakeCase(provider) }, options);
  }

  /** Lists the workspace's providers. */
  async listOAuthProviders(options?: CallOptions): Promise<OAuthProviderResponse[]> {
    return this.#list({ method: "GET", path: `${API}/providers` }, options);
  }

  /** Returns a provider. */
  async getOAuthProvider(providerId: string, options?: CallOptions): Promise<OAuthProviderResponse> {
    return this.#fields({ method: "GET", path: providerPath(providerId) }, options);
  }

  /** Changes a provider. Fields that are absent stay as they are. */
  async updateOAuthProvider(
    providerId: string,
    changes: OAuthProviderUpdateRequest,
    options?: CallOptions,
  ): Promise<OAuthProviderResponse> {
    return this.#fields({ method: "PATCH", path: providerPath(providerId), body: toSnakeCase(changes) }, options);
  }

  /** Deletes a provider with all its tokens, and revokes their grants. */
  async deleteOAuthProvider(providerId: string, options?: CallOptions): Promise<DeletedProvider> {
    return this.#fields({ method: "DELETE", path: providerPath(providerId) }, options);
  }

  /** Says whether the current user has a token. A service key must name the user in `options.userId`. */
  async checkTokenExists(providerId: string, options?: CallOptions): Promise<OAuthTokenStatusResponse> {
    return this.#fields({ method: "GET", path: `${API}/tokens/exists`, query: { provider_id: providerId } }, options);
  }

  /** Lists the current user's tokens, without the tokens themselves; of one provider, or of all. */
  async listTokens(providerId?: string, options?: CallOptions): Promise<OAuthTokenSummary[]> {
    return this.#list({ method: "GET", path: `${API}/tokens`, query: { provider_id: providerId } }, options);
  }

  /** Deletes the current user's tokens of a provider, and revokes their grants. Requires a key with the role `admin`. */
  async revokeTokens(providerId: string, options?: CallOptions): Promise<Deleted> {
    return this.#fields({ method: "DELETE", path: `${API}/tokens`, query: { provider_id: providerId } }, options);
  }

  /**
   * Reports that an API rejected a token, and returns a new one if there is one.
   *
   * @param tokenId the `token_id` in the `metadata` of the {@link AuthResult}
   * @param report the rejected `token`
   */
  async reportInvalidToken(tokenId: string, report: TokenReportRequest, options?: CallOptions): Promise<TokenReportResponse> {
    const path = `${API}/tokens/${encodeURIComponent(tokenId)}/report-invalid`;
    return this.#fields({ method: "POST", path, body: toSnakeCase(report) }, options);
  }

  async #fields<Body>(request: Parameters<Http["send"]>[0], options?: CallOptions): Promise<Body> {
    return toCamelCase((await this.#http.send(request, options)) as object) as Body;
  }

  async #list<Body>(request: Parameters<Http["send"]>[0], options?: CallOptions): Promise<Body[]> {
    const bodies = await this.#http.send(request, options);
    if (!Array.isArray(bodies)) throw new AgentAuthError(`The answer to GET ${request.path} is not a list.`);
    return bodies.map((body: object) => toCamelCase(body) as Body);
  }
}

function providerPath(providerId: string): string {
  return `${API}/providers/${encodeURIComponent(providerId)}`;
}

/** True for what passes while the server, or a proxy in front of it, restarts. */
function isPassing(error: unknown): boolean {
  return error instanceof ConnectionError || (error instanceof ApiError && [502, 503, 504].includes(error.status));
}

function consentError({ error, errorDescription }: AuthWaitResponse): ConsentError {
  if (!error) return new ConsentError("There is no such consent, or it has expired. Call authenticate again.");
  return new ConsentError(`The consent ended without a token: ${errorDescription ?? error}`, error);
}
