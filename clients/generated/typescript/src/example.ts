// Lists the open work orders and renames the first: every path, parameter and field is checked by tsc.
//
//   FIELDSYNC_URL=http://127.0.0.1:8000 FIELDSYNC_KEY=fsk_… node dist/example.js

import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const { FIELDSYNC_URL: baseUrl, FIELDSYNC_KEY: key } = process.env;
if (!baseUrl || !key) throw new Error("Set FIELDSYNC_URL and FIELDSYNC_KEY.");

const client = createClient<paths>({ baseUrl, headers: { Authorization: `Api-Key ${key}` } });

const { data, error } = await client.GET("/api/v2/work-orders/", { params: { query: { limit: 5 } } });
if (!data) throw new Error(error?.detail);
const first = data.results[0];
if (!first) throw new Error("There is no work order.");

const renamed = await client.PATCH("/api/v2/work-orders/{id}/", {
  params: { path: { id: first.id }, header: { "If-Match": `"${first.version}"` } },
  body: { summary: `${first.summary} (seen)` },
});
if (!renamed.data) throw new Error(renamed.error?.detail);
console.log(JSON.stringify({ id: first.id, summary: renamed.data.summary, assignee: first.assignee?.id ?? null }));
