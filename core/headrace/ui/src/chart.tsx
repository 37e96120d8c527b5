// Rates over some time, up to now.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { perSecond } from "./parts";

const clock = (at: number, seconds: boolean): string => new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) });

export interface Line {
  label: string;
  /** A CSS variable. */
  colour: string;
  points: number[];
}

/** `shown`: so many seconds. */
export function Chart({ at, shown, lines, label }: { at: number[]; shown: number; lines: Line[]; label: string }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = (): uPlot.AlignedData => [at, ...lines.map((each) => each.points)];
  useEffect(() => {
    const box = place.current as HTMLElement;
    const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const make = () => {
      plot.current?.destroy();
      const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
      plot.current = new uPlot(
        {
          width: box.clientWidth || 600,
          height: 180,
          cursor: { y: false },
          scales: { x: { range: (_, __, max) => [max - shown, max] }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.15)] } },
          series: [
            { label: "time", value: (_: uPlot, at: number | null) => (at === null ? "now" : clock(at, true)) },
            ...lines.map((each) => ({
              label: each.label,
              stroke: css(each.colour),
              width: 2,
              points: { show: false },
              // where nobody points, what it is at the end
              value: ({ data }: uPlot, value: number | null, line: number) => perSecond(value ?? data[line]?.at(-1) ?? 0),
            })),
          ],
          axes: [{ ...axis, space: 90, values: (_, splits) => splits.map((at) => clock(at, shown <= 300)) }, { ...axis, size: 56, values: (_, values) => values.map((value) => perSecond(value)) }],
        },
        data(),
        box,
      );
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: box.clientWidth || 600, height: 180 }));
    resized.observe(box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const themed = new MutationObserver(make);
    themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    dark.addEventListener("change", make);
    return () => {
      resized.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(data()), [at]);
  return <div class="chart" ref={place} role="img" aria-label={label} />;
}
