// Labels as a file: downloaded, or saved as data of the group by one resumable upload in one piece,
// as the pages of data do it in many.

import { csrf, element } from "./common.js";

export const fileName = (video) => `${video.replace(/\.[^.]*$/, "")} labels.json`;

const blob = (labels) => new Blob([`${JSON.stringify(labels.plain())}\n`], { type: "application/json" });

export function download(labels, name) {
  const link = element("a", { href: URL.createObjectURL(blob(labels)), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

// The id of the data set that it became.
export async function save(labels, name, group) {
  const body = blob(labels);
  const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const meta = { filename: name, filetype: "application/json", group };
  const heads = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": csrf() };
  const made = await ask("POST", "/api/v1/uploads", {
    ...heads,
    "Upload-Length": String(body.size),
    "Upload-Metadata": Object.entries(meta).map(([key, text]) => `${key} ${encode(text)}`).join(","),
  });
  const address = made.headers.get("Location");
  await ask("PATCH", address, { ...heads, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream" }, body);
  const dataset = await checked(address);
  return dataset.id ?? dataset;
}

async function checked(address) {
  for (let i = 0; i < 400; i += 1) {
    const told = await (await ask("GET", address, { Accept: "application/json" })).json();
    if (told.dataset) return told.dataset;
    if (told.problem) throw new Error(told.problem);
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error("The server did not finish in time.");
}

async function ask(method, address, headers, body) {
  const answer = await fetch(address, { method, headers, body });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || `The server answered ${answer.status}.`);
}
