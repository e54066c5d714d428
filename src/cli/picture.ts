// The memory map as a small picture: zones from the top down, where the process's pages and their stand-ins
// are, how far the board's address lines reach, and which way bytes are copied.

import type { PartReport, ZoneUse } from '../scenario/report.ts';
import { formatAddress, formatBytes, type Paint, plural } from './style.ts';

const WIDTH = 46;

/** The lines of the picture. */
export function memoryMap(part: PartReport, addressBits: number, paint: Paint): string[] {
  const limit = 2 ** addressBits;
  const lines: string[] = [];
  const zones = [...part.zones].sort((a, b) => b.base - a.base);
  for (const [i, zone] of zones.entries()) {
    const end = zone.base + zone.bytes;
    const above = zones[i - 1];
    if (above === undefined || above.base > end) {
      if (above !== undefined) {
        lines.push(rule('└', '┘', above.base, limit, paint));
        lines.push(paint.dim(`${' '.repeat(13)}  ⋮ no RAM`));
      }
      lines.push(rule('┌', '┐', end, limit, paint));
    } else {
      lines.push(rule('├', '┤', end, limit, paint));
    }
    lines.push(...body(zone, part, limit, paint));
  }
  const lowest = zones.at(-1);
  if (lowest !== undefined) lines.push(rule('└', '┘', lowest.base, limit, paint));
  return lines;
}

function rule(left: string, right: string, address: number, limit: number, paint: Paint): string {
  const here = address === limit;
  const line = `${left}${(here ? '═' : '─').repeat(WIDTH)}${right}`;
  const note = here ? paint.yellow(' ◄ the address lines end here') : '';
  return `${formatAddress(address).padStart(13)}  ${here ? paint.yellow(line) : line}${note}`;
}

function body(zone: ZoneUse, part: PartReport, limit: number, paint: Paint): string[] {
  const rows = [`${zone.name.padEnd(8)}${formatBytes(zone.bytes)}`];
  const reach = zone.base >= limit ? paint.red('out of reach') : paint.green('within reach');
  if (zone.userPages > 0) rows.push(`  ░ ${plural(zone.userPages, 'user page')}`);
  if (zone.bouncePages > 0) rows.push(`  ▓ ${plural(zone.bouncePages, 'bounce page')}`);
  if (zone.bystanderPages > 0) rows.push(`  ▒ ${plural(zone.bystanderPages, 'page')} of another process`);
  return rows.map((row, i) => {
    const right = i === 0 ? ` ${reach}` : arrow(row, part, paint);
    return `${' '.repeat(13)}  │ ${row.padEnd(WIDTH - 1)}│${right}`;
  });
}

/** What happens to the pages of a row. */
function arrow(row: string, part: PartReport, paint: Paint): string {
  const copied = part.copiedBytes > 0;
  if (row.includes('░') && copied) return paint.cyan(' ──┐ copied by the CPU');
  if (row.includes('▓')) return paint.cyan(' ◄─┘ the device uses these');
  if (row.includes('▒') && part.overwrittenBytes > 0) {
    return paint.red(` ◄── ${formatBytes(part.overwrittenBytes)} overwritten by the device`);
  }
  return '';
}
