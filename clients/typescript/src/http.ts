// One request to the server: headers, deadline, retries, errors.

import { AgentAuthError, ApiError, ConnectionError } from "./errors.js";
import type { ErrorBody, HttpValidationError } from "./openapi.js";

/** How to reach the server. */
export interface ClientOptions {
  /** The API key. If absent: the environment variable `LANGSMITH_API_KEY`. */
  apiKey?: string | undefined;
  /** The server's address, such as `https://auth.example.com`. If absent: the environment variable `LANGSMITH_API_URL`. */
  apiUrl?: string | undefined;
  /** The user that a service key acts for (`X-User-Id`). Can be set for each call as well. */
  userId?: string | undefined;
  /** Headers to send with each request. */
  headers?: Record<string, string> | undefined;
  /** How many times a request is repeated after a 429 or a 503. Default: 2. */
  maxRetries?: number | undefined;
  /** Seconds that one request may take, without the time that `waitForCompletion` waits. Default: 30. */
  requestTimeout?: number | undefined;
  /** Another `fetch`, for example one that goes through a proxy. */
  fetch?: typeof fetch | undefined;
}

/** Options of each call. */
export interface CallOptions {
  /** Ends the call when it is aborted. The call then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** The user that a service key acts for in this call (`X-User-Id`). */
  userId?: string | undefined;
  /** Headers to send with this call, in addition to those of the client. */
  headers?: Record<string, string> | undefined;
}

type Method = "GET" | "POST" | "PATCH" | "DELETE";

interface Request {
  method: Method;
  path: string;
  query?: Record<string, string | undefined>;
  body?: object;
  /** Seconds that the server may wait before it answers. */
  longPoll?: number;
}

// A server that asks for more patience than this is not waited for: the error has its `retryAfter`.
const LONGEST_RETRY_SECONDS = 60;

export class Http {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #maxRetries: number;
  readonly #requestTimeout: number;
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions) {
    const apiUrl = options.apiUrl ?? environment("LANGSMITH_API_URL");
    const apiKey = options.apiKey ?? environment("LANGSMITH_API_KEY");
    if (!apiUrl) {
      throw new AgentAuthError("The server's address is missing. Pass `apiUrl`, or set LANGSMITH_API_URL.");
    }
    if (!URL.canParse(apiUrl) || !/^https?:/i.test(apiUrl)) {
      throw new AgentAuthError(`\`apiUrl\` is not an http or https address: ${apiUrl}`);
    }
    if (!apiKey) throw new AgentAuthError("The API key is missing. Pass `apiKey`, or set LANGSMITH_API_KEY.");
    this.#url = apiUrl.replace(/\/+$/, "");
    this.#headers = { ...options.headers, "x-api-key": apiKey, ...(options.userId && { "x-user-id": options.userId }) };
    this.#maxRetries = options.maxRetries ?? 2;
    this.#requestTimeout = options.requestTimeout ?? 30;
    this.#fetch = options.fetch ?? fetch;
  }

  /** The JSON of the server's answer. Repeats the request after a 429 and a 503. */
  async send(request: Request, options: CallOptions = {}): Promise<unknown> {
    for (let retries = 0; ; retries += 1) {
      try {
        return await this.#sendOnce(request, options);
      } catch (error) {
        if (!(error instanceof ApiError) || ![429, 503].includes(error.status) || retries >= this.#maxRetries) throw error;
        const seconds = error.retryAfter ?? 0.5 * 2 ** retries * (1 + Math.random());
        if (seconds > LONGEST_RETRY_SECONDS) throw error;
        await sleep(seconds, options.signal);
      }
    }
  }

  async #sendOnce({ method, path, query = {}, body, longPoll = 0 }: Request, options: CallOptions): Promise<unknown> {
    const url = new URL(this.#url + path);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const seconds = this.#requestTimeout + longPoll;
    const timeout = AbortSignal.timeout(seconds * 1000);
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch.call(undefined, url, {
        method,
        headers: {
          ...this.#headers,
          ...options.headers,
          ...(options.userId && { "x-user-id": options.userId }),
          ...(body && { "content-type": "application/json" }),
        },
        ...(body && { body: JSON.stringify(body) }),
        // A redirect would take the API key to another host, and the server never redirects.
        redirect: "manual",
        signal: options.signal ? AbortSignal.any([options.signal, timeout]) : timeout,
      });
      text = await response.text();
    } catch (error) {
      options.signal?.throwIfAborted();
      const why = timeout.aborted ? `no answer within ${seconds} seconds` : reason(error);
      throw new ConnectionError(`${method} ${url.origin}${url.pathname}: ${why}`, { cause: error });
    }
    if (!response.ok) throw apiError(response, text);
    const answer = parsed(text);
    if (answer !== undefined) return answer;
    throw new AgentAuthError(
      `The answer of ${url.origin}${url.pathname} is not a JSON object or list. Is \`apiUrl\` the address of agent-auth?`,
    );
  }
}

/** Resolves after that many seconds. */
export function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

function apiError(response: Response, text: string): ApiError {
  const body = parsed(text);
  const detail = body?.detail;
  const errors = Array.isArray(detail) ? detail : [];
  const code = body && "code" in body && typeof body.code === "string" ? body.code : undefined;
  return new ApiError(`HTTP ${response.status}: ${explanation(response, detail)}`, {
    status: response.status,
    code,
    errors,
    retryAfter: retryAfter(response.headers.get("retry-after")),
    requestId: response.headers.get("x-request-id") ?? undefined,
  });
}

function parsed(text: string): Partial<ErrorBody> | Partial<HttpValidationError> | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : undefined;
  } catch {
    return undefined; // a page of a proxy
  }
}

function explanation(response: Response, detail: ErrorBody["detail"] | HttpValidationError["detail"] | undefined): string {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map(fault).join("; ");
  const location = response.headers.get("location");
  if (location) return `redirected to ${location}. Set \`apiUrl\` to the address that does not redirect.`;
  return response.statusText || "the answer has no explanation";
}

/** One fault of a 422, whatever a proxy or another server has made of it. */
function fault(fault: Partial<HttpValidationError["detail"][number]> | null): string {
  const at = Array.isArray(fault?.loc) ? `${fault.loc.join(".")}: ` : "";
  return `${at}${fault?.msg ?? JSON.stringify(fault)}`;
}

/** RFC 9110, section 10.2.3: a number of seconds, or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** `fetch` says only "fetch failed"; its cause has the reason. */
function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return cause.message || ("code" in cause ? String(cause.code) : cause.name);
}

function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}
