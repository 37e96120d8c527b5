// Reading the JSON Schema of the configuration: which types there are, and which fields each has.
import { request } from "./api";
import type { PartKind, Schema, Value } from "./types";

let whole: Promise<Schema> | null = null;

/** The schema of a configuration file, the same that checks it. */
export function schema(): Promise<Schema> {
  whole ??= request<Schema>("GET", "schemas").catch((error: unknown) => {
    whole = null;
    throw error;
  });
  return whole;
}

export function resolve(part: Schema, root: Schema): Schema {
  const name = part.$ref?.replace("#/$defs/", "");
  const target = name === undefined ? undefined : root.$defs?.[name];
  if (!target) return part;
  const { $ref: _, ...rest } = part;
  return { ...resolve(target, root), ...rest };
}

/** The types of a kind of part, each with its options. */
export function variants(kind: PartKind, root: Schema): Schema[] {
  const found = root.properties?.[kind]?.additionalProperties;
  if (typeof found !== "object") return [];
  const entry = resolve(found, root);
  return (entry.oneOf ?? entry.anyOf ?? [entry]).map((each) => resolve(each, root));
}

export const typeName = (variant: Schema): string => String(variant.properties?.["type"]?.const ?? variant.title ?? "");

export type FieldShape =
  | { is: "flag" | "number" | "text" | "secret" | "long" | "json" | "lines" | "rows" }
  | { is: "choice"; choices: Value[] }
  | { is: "group"; schema: Schema };

const LONG = new Set(["body"]);

/** The alternatives of a field. Placeholders and null are part of many schemas and of no form. */
function alternatives(given: Schema, root: Schema): Schema[] {
  if (given.$ref?.endsWith("/placeholder")) return [];
  const field = resolve(given, root);
  const inner = field.anyOf ?? field.oneOf;
  if (inner) return inner.flatMap((each) => alternatives(each, root));
  return field.type === "null" ? [] : [field];
}

/** How to ask for an option. */
export function shape(name: string, given: Schema, root: Schema): FieldShape {
  const options = alternatives(given, root);
  const has = (type: string) => options.some((each) => each.type === type);
  const choices = options.flatMap((each) => each.enum ?? (each.const === undefined ? [] : [each.const]));
  if (choices.length > 0 && options.every((each) => each.enum || each.const !== undefined)) return { is: "choice", choices };
  if (options.some((each) => each.format === "password" || each.writeOnly)) return { is: "secret" };
  if (has("boolean") && options.length === 1) return { is: "flag" };
  const group = options.find((each) => each.type === "object" && each.properties);
  if (group) return { is: "group", schema: group };
  if (LONG.has(name)) return { is: "long" };
  if (options.length > 0 && options.every((each) => each.type === "object")) return { is: "rows" };
  if (has("array")) return { is: "lines" };
  if (options.length > 0 && options.every((each) => each.type === "integer" || each.type === "number"))
    return { is: options.some((each) => each["x-unit"]) ? "text" : "number" };
  return { is: options.length === 0 || has("object") ? "json" : "text" };
}
