// Where the user is: `#/rules/my_rule?tab=actions`. In the fragment, so it works behind any path prefix.
import { signal } from "@preact/signals";

export interface Route {
  page: string;
  name: string;
  query: URLSearchParams;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/").map(decodeURIComponent);
  return { page: page || "overview", name: rest.join("/"), query: new URLSearchParams(query) };
}

export const route = signal<Route>(read());
addEventListener("hashchange", () => {
  const { page, name } = route.value;
  route.value = read();
  if (route.value.page !== page || route.value.name !== name) scrollTo(0, 0);
});

export function href(page: string, name = "", query: Record<string, string> = {}): string {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${page}${name ? `/${encodeURIComponent(name)}` : ""}${given ? `?${given}` : ""}`;
}

export function go(page: string, name = "", query: Record<string, string> = {}): void {
  location.hash = href(page, name, query);
}

/** Change the query of this page without a new entry in the history. */
export function setQuery(query: Record<string, string>): void {
  const { page, name } = route.value;
  history.replaceState(null, "", href(page, name, query));
  route.value = read();
}
