/**
 * Client for agent-auth, which asks a person for consent once and from then on gives agents valid OAuth access tokens.
 *
 * @packageDocumentation
 */

export { type AuthResult, Client, type CompletedAuth, type WaitOptions } from "./client.js";
export { AgentAuthError, ApiError, ConnectionError, ConsentError, WaitTimeoutError } from "./errors.js";
export type { CallOptions, ClientOptions } from "./http.js";
export type * from "./openapi.js";
