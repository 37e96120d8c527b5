// A sign for each page, drawn in the colour of the text.
import type { JSX } from "preact";

const PATHS: Record<string, string> = {
  overview: "M3 12a9 9 0 1 1 18 0M12 12l4-4M5 19h14",
  sources: "M4 12h11M11 7l5 5-5 5M20 4v16",
  connectors: "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4",
  rules: "M4 5h16l-6 7v6l-4 2v-8z",
  sinks: "M4 4v16M8 12h11M15 7l5 5-5 5",
  flow: "M3 5h5v5H3zM16 3h5v5h-5zM16 16h5v5h-5zM8 7.500c5 0 3-2 8-2M8 7.500c5 0 3 11 8 11",
  dead: "M3 6h18v12H3zM3 7l9 6 9-6",
  tap: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  config: "M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3",
  plugins: "M4 9h4a2 2 0 1 1 4 0h5v4a2 2 0 1 1 0 4v4H4z",
};

export function Icon({ of }: { of: string }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="18" height="18" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">
      <path d={PATHS[of]} />
    </svg>
  );
}
