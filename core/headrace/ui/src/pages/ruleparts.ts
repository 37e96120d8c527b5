// Reading a rule's options, whichever way they are written.
import type { Options, Value } from "../types";

/** The query of a rule that is one `sql` step. */
export function sqlOf(rule: Options | undefined): string {
  if (!rule) return "";
  if (typeof rule["sql"] === "string") return rule["sql"];
  const steps = Array.isArray(rule["transforms"]) ? rule["transforms"] : [];
  const found = steps.map(queryOf).find((query) => query !== "");
  return found ?? "";
}

function queryOf(step: Value): string {
  if (typeof step !== "object" || step === null || Array.isArray(step)) return "";
  if (typeof step["sql"] === "string") return step["sql"];
  return step["type"] === "sql" && typeof step["query"] === "string" ? step["query"] : "";
}

export function sinksOf(rule: Options | undefined): string[] {
  const to = rule?.["to"];
  if (typeof to === "string") return [to];
  return Array.isArray(to) ? to.map(String) : [];
}

/** The sources it reads from; null: all of them. */
export function sourcesOf(rule: Options | undefined): string[] | null {
  const named = rule?.["sources"];
  if (typeof named === "string") return [named];
  return Array.isArray(named) && named.length > 0 ? named.map(String) : null;
}

/** Does the rule have more than one query and its sinks? Then only YAML shows all of it. */
export function isPlain(rule: Options): boolean {
  if (Object.keys(rule).length === 0 || typeof rule["sql"] === "string") return true;
  const steps = rule["transforms"];
  return Array.isArray(steps) && steps.length === 1 && queryOf(steps[0] as Value) !== "";
}
