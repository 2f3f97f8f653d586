/* What the nodes said of themselves: roles and terms, and their clocks.
 *
 * Rules of this file:
 * - Roles differ in height: a leader is a full bar with its term, a candidate half a bar hatched by
 *   dashes, a follower a thin line, an unreachable node a row of dots.
 * - Offsets reach from microseconds to minutes: the scale is linear around zero and logarithmic
 *   beyond one millisecond, on both sides.
 */

function startRoles() {
  if (!document.querySelector('[data-plot="roles"]')) return;
  const nodes = Object.keys(data.roles);
  const row = 24;
  new Plot("roles", {
    height: nodes.length * row + GUTTER.top + GUTTER.bottom,
    draw(context, plot) {
      nodes.forEach((node, number) => scaleRow(context, plot, node, plot.top + number * row, row));
      clip(context, plot);
      nodes.forEach((node, number) => {
        for (const stretch of data.roles[node]) {
          if (stretch[1] < view.from || stretch[0] > view.to) continue;
          drawRole(context, plot, stretch, plot.top + number * row, row);
        }
      });
    },
    pick(x, y, plot) {
      const node = nodes[Math.floor((y - plot.top) / row)];
      if (!node || x < plot.left) return null;
      const time = plot.time(x);
      const found = data.roles[node].find(([from, to]) => from <= time && time <= to);
      if (!found) return { title: node, lines: [`no sample at ${seconds(time)}`] };
      const [from, to, role, term] = found;
      return { title: `${node}: ${role}${term === null ? "" : `, term ${term}`}`, lines: [`${seconds(from)} to ${seconds(to)}`] };
    },
  });
  const sample = (role) => (c) => drawRole(c, { x: (time) => time, left: 0, right: 22 }, [0, 22, role, null], -2, 16);
  legend("roles", ["leader", "follower", "candidate", "unreachable"].map((role) => [role, sample(role)]));
}

function drawRole(context, plot, [from, to, role, term], y, row) {
  const x = Math.max(plot.x(from), plot.left);
  const wide = Math.max(1, Math.min(plot.x(to), plot.right) - x);
  const middle = y + row / 2;
  if (role === "leader") {
    context.fillStyle = palette.accent;
    context.fillRect(x, y + 4, wide, row - 8);
    const text = `term ${term}`;
    if (term === null || context.measureText(text).width > wide - 8) return;
    context.fillStyle = palette.surface;
    context.textAlign = "left";
    context.fillText(text, x + 5, middle + 0.5);
  } else if (role === "unreachable") {
    line(context, x, middle, x + wide, middle, { colour: palette.bad, width: 2.5, dash: [2, 5] });
  } else if (role === "candidate" || role === "pre-candidate") {
    line(context, x, middle, x + wide, middle, { colour: palette.info, width: row / 3, dash: [3, 3] });
  } else {
    line(context, x, middle, x + wide, middle, { colour: palette.muted, width: 1.2 });
  }
}

const bend = (ms) => Math.sign(ms) * Math.log10(1 + Math.abs(ms));

function startClocks() {
  if (!document.querySelector('[data-plot="clocks"]')) return;
  const nodes = Object.keys(data.clocks);
  let [low, high] = [-1, 1];
  for (const node of nodes) {
    for (const ms of data.clocks[node].offset_ms) { low = Math.min(low, ms); high = Math.max(high, ms); }
  }
  const [bottom, top] = [bend(low) - 0.25, bend(high) + 0.25];
  const y = (plot, ms) => plot.bottom - ((bend(ms) - bottom) / (top - bottom)) * (plot.bottom - plot.top);
  new Plot("clocks", {
    height: 200,
    draw(context, plot) {
      drawOffsets(context, plot, y);
      clip(context, plot);
      nodes.forEach((node, number) => drawClock(context, plot, data.clocks[node], number, y));
    },
    pick(x, py, plot) {
      let best = null;
      for (const node of nodes) {
        const { time_us: times, offset_ms: offsets, error_ms: errors } = data.clocks[node];
        const from = lowerBound(times, plot.time(x - 6));
        for (let n = from; n < times.length && plot.x(times[n]) <= x + 6; n += 1) {
          const away = Math.abs(plot.x(times[n]) - x) + Math.abs(y(plot, offsets[n]) - py);
          if (away < 14 && (!best || away < best.away)) best = { away, node, ms: offsets[n], error: errors[n], time: times[n] };
        }
      }
      return best && { title: `${best.node} at ${seconds(best.time)}`, lines: [`offset ${best.ms.toFixed(1)} ms ± ${best.error.toFixed(1)} ms`] };
    },
  });
  legend("clocks", nodes.map((node, number) => [node.slice(0, 40), (c) => {
    c.fillStyle = c.strokeStyle = nodeColour(number);
    c.lineWidth = 1.6;
    shape(c, nodeShape(number), 11, 6, 3.4);
    if (nodeShape(number) === "cross") c.stroke(); else c.fill();
  }]));
}

function drawOffsets(context, plot, y) {
  let before = Infinity;
  const marks = [1e6, 1e5, 1e4, 1e3, 100, 10, 0, -10, -100, -1e3, -1e4, -1e5, -1e6];
  for (const ms of marks) {
    const height = y(plot, ms);
    if (height < plot.top || height > plot.bottom || Math.abs(before - height) < 14) continue;
    before = height;
    const sign = ms > 0 ? "+" : ms < 0 ? "−" : "";
    const size = Math.abs(ms);
    scaleLine(context, plot, height, ms === 0 ? "0" : size >= 1000 ? `${sign}${size / 1000} s` : `${sign}${size} ms`);
  }
}

function drawClock(context, plot, clock, number, y) {
  const { time_us: times, offset_ms: offsets, error_ms: errors } = clock;
  const last = lowerBound(times, view.to);
  const first = Math.max(0, lowerBound(times, view.from) - 1);
  const stride = Math.max(1, Math.floor((last - first) / 300));
  context.fillStyle = context.strokeStyle = nodeColour(number);
  for (let n = first; n <= last && n < times.length; n += 1) {
    const x = plot.x(times[n]);
    line(context, x, y(plot, offsets[n] - errors[n]), x, y(plot, offsets[n] + errors[n]), { colour: nodeColour(number), width: 1 });
    if (n % stride) continue;
    shape(context, nodeShape(number), x, y(plot, offsets[n]), 2);
    if (nodeShape(number) === "cross") context.stroke(); else context.fill();
  }
}
