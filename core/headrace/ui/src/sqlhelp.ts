// What the SQL editor knows: words to complete, and what is wrong with a query.
import type { Completion } from "@codemirror/autocomplete";
import { useEffect, useState } from "preact/hooks";
import { ApiError, request, testSql } from "./api";
import type { Problem } from "./editor";
import type { Options } from "./types";

export interface Sample {
  name: string;
  topics?: string[];
  text?: string;
  columns: Options;
}

let asked: Promise<{ samples: Sample[]; words: Completion[] }> | null = null;

function ask(): Promise<{ samples: Sample[]; words: Completion[] }> {
  asked ??= Promise.all([request<Sample[]>("GET", "events"), request<{ name: string; text: string }[]>("GET", "functions")]).then(
    ([samples, functions]) => ({
      samples,
      words: [
        ...[...new Set(samples.flatMap((each) => Object.keys(each.columns)))].map((label) => ({ label, type: "property", detail: "column" })),
        ...functions.map((each) => ({ label: each.name, type: "function", detail: each.text, apply: `${each.name}(` })),
      ],
    }),
    (error: unknown) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

const NONE: Completion[] = [];

export function useWords(): Completion[] {
  const [words, setWords] = useState(NONE);
  useEffect(() => void ask().then((found) => setWords(found.words), () => undefined), []);
  return words;
}

export function useSamples(): Sample[] {
  const [samples, setSamples] = useState<Sample[]>([]);
  useEffect(() => void ask().then((found) => setSamples(found.samples), () => undefined), []);
  return samples;
}

/** Errors of a query, at their place. */
export async function checkSql(sql: string): Promise<Problem[]> {
  try {
    await testSql(sql);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 400) return [];
    return [{ message: error.message, line: error.more.line, column: error.more.column }];
  }
  return [];
}
