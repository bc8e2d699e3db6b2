// Every error of this client is an AgentAuthError, except an abort: that rejects with the reason of the AbortSignal.

import type { ValidationError } from "./openapi.js";

/** What all errors of this client have in common. */
export class AgentAuthError extends Error {
  override name = "AgentAuthError";
}

/** The server answered with an error. */
export class ApiError extends AgentAuthError {
  override name = "ApiError";
  /** The HTTP status, such as 403. */
  readonly status: number;
  /** The error's code, such as `"outside_key_limits"`; absent if the answer has none, such as a 422 or a proxy's page. */
  readonly code: string | undefined;
  /** For a 422: each error of the request. */
  readonly errors: ValidationError[];
  /** Seconds after which to try again, if the server said so. */
  readonly retryAfter: number | undefined;
  /** The request's id in the server's log. */
  readonly requestId: string | undefined;

  constructor(message: string, details: Pick<ApiError, "status" | "code" | "errors" | "retryAfter" | "requestId">) {
    super(message);
    this.status = details.status;
    this.code = details.code;
    this.errors = details.errors;
    this.retryAfter = details.retryAfter;
    this.requestId = details.requestId;
  }
}

/** No answer: the server cannot be reached, or did not answer in time. `cause` says why. */
export class ConnectionError extends AgentAuthError {
  override name = "ConnectionError";
}

/** The consent ended without a token: it was denied, it failed, it expired, or it never existed. */
export class ConsentError extends AgentAuthError {
  override name = "ConsentError";
  /** The OAuth error code, such as `"access_denied"`; absent if the request is unknown or expired. */
  readonly error: string | undefined;

  constructor(message: string, error?: string) {
    super(message);
    this.error = error;
  }
}

/** The person has not decided yet, and `waitForCompletion` does not wait longer. Call it again to go on waiting. */
export class WaitTimeoutError extends AgentAuthError {
  override name = "WaitTimeoutError";
}
