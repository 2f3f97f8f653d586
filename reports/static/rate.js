/* Completions per second, by outcome.
 *
 * Rules of this file:
 * - Outcomes differ in stroke: ok is solid over a filled ground, fail dashed, info dotted.
 * - Counts come ready in bins; here they only become rates.
 */

const RATES = [["ok", []], ["fail", [7, 3]], ["info", [2, 2]]];

function startRate() {
  if (!document.querySelector('[data-plot="rate"]')) return;
  const { bin_ms: width } = data.rates;
  const perSecond = (count) => (count * 1000) / width;
  const most = Math.max(1, ...RATES.flatMap(([name]) => data.rates[name].map(perSecond))) * 1.08;
  const y = (plot, value) => plot.bottom - (value / most) * (plot.bottom - plot.top);
  new Plot("rate", {
    height: 160,
    draw(context, plot) {
      const step = roundStep(most, 4);
      for (let value = 0; value <= most; value += step) scaleLine(context, plot, y(plot, value), `${Number(value.toPrecision(4))}/s`);
      clip(context, plot);
      for (const [name, dash] of RATES) {
        const heights = data.rates[name].map((count) => y(plot, perSecond(count)));
        steps(context, plot, heights, width * 1000, { colour: palette[name], dash, fill: name === "ok" ? 0.12 : 0 });
      }
    },
    pick(x, _y, plot) {
      const bin = Math.floor(plot.time(x) / (width * 1000));
      if (x < plot.left || data.rates.ok[bin] === undefined) return null;
      const lines = RATES.map(([name]) => `${name}: ${data.rates[name][bin]} (${perSecond(data.rates[name][bin]).toFixed(1)}/s)`);
      return { title: `${seconds(bin * width * 1000, 2e7)} to ${seconds((bin + 1) * width * 1000, 2e7)}`, lines };
    },
  });
  legend("rate", RATES.map(([name, dash]) => [name, (c) => line(c, 0, 6, 22, 6, { colour: palette[name], width: 2, dash })]));
}
