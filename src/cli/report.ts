// The report of `backplane run` for people.

import { hex, nameOf, RULES } from '../guard/index.ts';
import type { PartReport, ReportedFinding, RunReport } from '../scenario/report.ts';
import { memoryMap } from './picture.ts';
import { formatAddress, formatBytes, formatCount, formatNs, oneLine, type Paint, plural } from './style.ts';

const SEGMENTS_SHOWN = 8;
const FINDINGS_SHOWN = 6;

/** The whole report, without a newline at the end. */
export function formatReport(report: RunReport, paint: Paint): string {
  const lines = [...head(report, paint)];
  report.parts.forEach((part, i) => {
    lines.push('', ...formatPart(part, i + 1, report, paint));
  });
  lines.push('', verdict(report, paint));
  return lines.join('\n');
}

function head(report: RunReport, paint: Paint): string[] {
  return [
    paint.bold(oneLine(`${report.scenario}: ${report.about}`)),
    row('input', `${report.input.path}, ${plural(report.input.bytes, 'byte')}`, paint),
    row('', paint.dim(`sha256 ${report.input.sha256}`), paint),
    row(
      'disk',
      oneLine(`${report.disk.name}, ${formatBytes(report.disk.bytes)}, behind ${report.board}`),
      paint,
    ),
    row('', `${report.addressBits} address lines: it reaches ${reach(report.addressBits)}`, paint),
    row('kernel', `${kernelsOf(report).join(' and ')}, seed ${report.seed}`, paint),
    ...(report.driver === null ? [] : [row('driver', report.driver, paint)]),
  ];
}

/** The kernels that the parts run on, each once. */
function kernelsOf({ parts }: RunReport): string[] {
  return [...new Set(parts.map(({ kernel }) => kernel))];
}

/** Which kernel a part runs on, where that is not clear, and how the process's memory gets to the driver there. */
function kernelRow(part: PartReport, report: RunReport, paint: Paint): string[] {
  if (kernelsOf(report).length === 1 && part.ways.length === 0) return [];
  const ways = part.ways.length === 0 ? '' : `: ${part.ways.join(', ')}`;
  return [row('kernel', `${part.kernel}${ways}`, paint)];
}

function reach(bits: number): string {
  return bits >= 64 ? 'every address' : `the first ${formatBytes(2 ** bits)}`;
}

function formatPart(part: PartReport, number: number, report: RunReport, paint: Paint): string[] {
  const lines = [paint.bold(oneLine(`${number}. ${part.title}`))];
  if (part.skipped !== null) return [...lines, `   ${paint.dim(`not run: ${part.skipped}`)}`];
  const { pages } = part;
  lines.push(
    ...kernelRow(part, report, paint),
    row(
      'pages',
      `${formatCount(pages.user)} pinned: ${formatCount(pages.direct)} direct, ${formatCount(pages.bounced)} bounced`,
      paint,
    ),
    row('copied', `${formatBytes(part.copiedBytes)} by the CPU`, paint),
    row(
      'device',
      `${plural(part.commands, 'command')}, ${plural(part.segments, 'segment')}, ${plural(part.interrupts, 'interrupt')}, ${formatNs(part.virtualNs)} of virtual time`,
      paint,
    ),
    '',
    ...segments(part, report, paint),
    '',
    ...memoryMap(part, report.addressBits, paint).map((line) => `   ${line}`),
    '',
    ...readbackRows(part, paint),
  );
  if (part.overwrittenBytes > 0) {
    const at = part.firstOverwritten === null ? '' : `, from ${hex(part.firstOverwritten)} on`;
    lines.push(
      row(
        'damage',
        paint.red(`${plural(part.overwrittenBytes, 'byte')} of another process overwritten${at}`),
        paint,
      ),
    );
  }
  lines.push(...findings(part, paint));
  for (const problem of part.problems) lines.push(row('wrong', paint.red(problem), paint));
  return lines;
}

function readbackRows({ readback }: PartReport, paint: Paint): string[] {
  if (readback.sha256 === '') return [row('readback', paint.red('nothing was read'), paint)];
  const text = readback.identical
    ? paint.green('identical, byte for byte')
    : paint.red(`differs in ${plural(readback.differingBytes, 'byte')}`);
  return [row('readback', text, paint), row('', paint.dim(`sha256 ${readback.sha256}`), paint)];
}

function segments(part: PartReport, report: RunReport, paint: Paint): string[] {
  const list = part.firstList;
  if (list.length === 0) return [`   ${paint.dim('no command moved data')}`];
  const lines = [`   ${paint.dim('scatter list of the first command')}`];
  for (const segment of list.slice(0, SEGMENTS_SHOWN)) {
    const page = part.firstPages.find(({ device }) => device === segment.bus - (segment.bus % 4096));
    const origin =
      page === undefined || page.kind === 'direct'
        ? 'the user page itself'
        : `stands for ${formatAddress(page.user)}`;
    const verdictText = segment.reachable
      ? paint.green('reachable')
      : paint.red(`not reachable: the board drives ${formatAddress(segment.bus % 2 ** report.addressBits)}`);
    lines.push(
      `     ${formatAddress(segment.bus).padStart(11)}  ${formatCount(segment.bytes).padStart(7)} bytes  ${verdictText}  ${paint.dim(origin)}`,
    );
  }
  if (list.length > SEGMENTS_SHOWN)
    lines.push(`     ${paint.dim(`and ${list.length - SEGMENTS_SHOWN} more`)}`);
  return lines;
}

function findings(part: PartReport, paint: Paint): string[] {
  if (part.findings.length === 0) return [row('guard', paint.green('nothing found'), paint)];
  const total = part.findings.reduce((sum, { count }) => sum + count, 0) + part.lostFindings;
  const wrong = `${formatCount(total)} wrong ${total === 1 ? 'step' : 'steps'} seen`;
  const lines = [row('guard', paint.red(wrong), paint)];
  const byRule = new Map<string, ReportedFinding[]>();
  for (const finding of part.findings) {
    const same = byRule.get(finding.rule);
    if (same === undefined) byRule.set(finding.rule, [finding]);
    else same.push(finding);
  }
  for (const [rule, found] of byRule) {
    const times = found.reduce((sum, { count }) => sum + count, 0);
    const declared = found.every(({ expected }) => expected) ? paint.dim(' (declared by the scenario)') : '';
    lines.push(
      `     ${paint.red(rule)}  ${RULES[found[0]?.rule ?? 'dev-hole']}, ${plural(times, 'time')}${declared}`,
    );
    for (const finding of found.slice(0, FINDINGS_SHOWN / byRule.size)) {
      lines.push(`       ${finding.message}`);
      if (finding.mapping !== null) lines.push(paint.dim(`         mapping: ${nameOf(finding.mapping)}`));
    }
  }
  return lines;
}

function verdict(report: RunReport, paint: Paint): string {
  const ran = report.parts.filter(({ skipped }) => skipped === null).length;
  if (report.ok) return paint.green(paint.bold(`ok: ${plural(ran, 'part')} went as the scenario says`));
  const failed = report.parts.filter(({ ok }) => !ok).map(({ title }) => title);
  return paint.red(paint.bold(oneLine(`not ok: ${failed.join('; ')}`)));
}

function row(label: string, text: string, paint: Paint): string {
  return `   ${paint.dim(label.padEnd(9))} ${text}`;
}
