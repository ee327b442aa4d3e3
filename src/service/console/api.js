// Questions to the service. An answer that is not a success becomes an Error with the message and the hint of the service.

const PATIENCE_MS = 10000;

export class Refusal extends Error {
  constructor(status, body) {
    super(body.message ?? `the service answered ${status}`);
    this.status = status;
    this.hint = body.hint ?? "";
    this.code = body.code ?? "";
  }
}

async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

/** The query without what is empty. */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}

export const get = async (path, values = {}) => (await ask(`/api/v1/${path}${query(values)}`)).json();

/** An image and the header that says between which levels it is drawn. */
export async function image(path, values, signal) {
  const answer = await ask(`/api/v1/${path}${query(values)}`, { signal });
  const levels = (answer.headers.get("soxsd-levels") ?? "").split(" ").map(Number);
  return { bitmap: await createImageBitmap(await answer.blob()), levels };
}

/** An act of an operator; needs the token of the installation. */
export async function act(body, token) {
  const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  return (await ask("/api/v1/acts", { method: "POST", headers, body: JSON.stringify(body) })).json();
}
