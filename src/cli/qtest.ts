// `backplane qtest`: replays a script of the protocol qtest and says what became of the devices.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { RULES } from '../guard/index.ts';
import { QtestError } from '../qtest/errors.ts';
import { commandLineFor, parseScript, replay, type ScriptOutcome } from '../qtest/script.ts';
import { EXIT_FINE, EXIT_FOUND, UsageError } from './errors.ts';
import { attempt } from './input.ts';
import { formatBytes, formatPath, oneLine, type Paint, paintFor, plural } from './style.ts';

const SCRIPT_MAX = 1 << 26;
const REFUSED_SHOWN = 5;
const FINDINGS_SHOWN = 8;
const TEXT_SHOWN = 100;

export function addQtest(root: Command): void {
  root
    .command('qtest')
    .usage('[--json] <file> [arguments of the machine]')
    .argument('<file...>', 'the script, and the machine if it does not say: see below')
    .description('replay a qtest script, such as a bug report has, and say what the guard found')
    .option('--json', 'print one object')
    // The machine's options are the server's, with one dash or two.
    .allowUnknownOption()
    .addHelpText(
      'before',
      [
        'Examples:',
        '  backplane qtest report.qtest',
        '  backplane qtest report.qtest -M q35 -drive if=none,id=d0,file=null-co:// -device nvme,drive=d0,serial=1',
        '',
        'Exit status: 0 nothing was found, 1 the guard found something or a device did not survive.',
        '',
      ].join('\n'),
    )
    .addHelpText(
      'after',
      [
        '',
        '<file> is a script: lines of the protocol, perhaps with the command line that they are for, also as a comment;',
        '- reads standard input. What follows describes the machine as reports do, in addition or instead: -M, -m,',
        '-device, -drive and whatever else `backplane-system-x86_64 -help` lists. A whole line `qemu-system-i386 … -qtest',
        'stdio` may be pasted; where the protocol was spoken means nothing here.',
      ].join('\n'),
    )
    .action(async (words: string[], options: { json?: boolean }) => {
      process.exitCode = await qtest(words, options.json === true);
    });
}

async function qtest(words: readonly string[], json: boolean): Promise<number> {
  const file = fileAmong(words);
  const bytes = attempt(file, () => readFileSync(file === '-' ? 0 : file));
  if (bytes.length > SCRIPT_MAX)
    throw new UsageError(`${formatPath(file)} has ${bytes.length} bytes; at most ${SCRIPT_MAX} are read`);
  const outcome = await play(bytes.toString('utf8'), file, words);
  const found = outcome.findings.length > 0 || !outcome.survived;
  if (json) process.stdout.write(`${JSON.stringify(toJson(outcome), null, 2)}\n`);
  else process.stdout.write(`${format(outcome, formatPath(file), paintFor(process.stdout))}\n`);
  return found ? EXIT_FOUND : EXIT_FINE;
}

/** The one word that is neither an option, nor its value, nor the program of a pasted line. */
function fileAmong(words: readonly string[]): string {
  const operands: string[] = [];
  try {
    commandLineFor(parseScript(''), words, operands);
  } catch (error) {
    throw asUsage(error, 'qtest');
  }
  const files = operands.filter((word) => !/-system-(?:x86_64|i386)$/.test(word));
  const [file, second] = files;
  if (file === undefined) throw new UsageError('qtest: no script is named; write backplane qtest FILE');
  if (second !== undefined)
    throw new UsageError(`qtest: "${second}" is no option; one script is replayed, and that is "${file}"`);
  return file;
}

async function play(text: string, file: string, words: readonly string[]): Promise<ScriptOutcome> {
  try {
    const script = parseScript(text);
    const line = commandLineFor(script, words, []);
    return await replay(script, line, { readText: (path) => readFileSync(path, 'utf8') });
  } catch (error) {
    throw asUsage(error, file === '-' ? 'stdin' : formatPath(file));
  }
}

/** What cannot be is a mistake of usage; anything else stays what it is. */
function asUsage(error: unknown, where: string): Error {
  return error instanceof QtestError ? new UsageError(`${where}: ${error.message}`) : (error as Error);
}

function toJson(outcome: ScriptOutcome): object {
  const { findings, ...rest } = outcome;
  return {
    ok: findings.length === 0 && outcome.survived,
    ...rest,
    findings: findings.map(({ rule, message, device, address, length, count }) => ({
      rule,
      message,
      device,
      address,
      length,
      count,
    })),
  };
}

function format(outcome: ScriptOutcome, name: string, paint: Paint): string {
  const { refused, findings, mediaFailures } = outcome;
  const row = (label: string, text: string): string => `   ${paint.dim(label.padEnd(12))} ${text}`;
  const lines = [
    paint.bold(name),
    row('machine', `${outcome.machine}, ${formatBytes(outcome.ramBytes)} of RAM`),
    row(
      'commands',
      `${plural(outcome.commands, 'command')}, ${refused.length === 0 ? 'none' : refused.length} refused`,
    ),
    ...refused
      .slice(0, REFUSED_SHOWN)
      .map(
        ({ line, text, answer }) =>
          `     line ${line}: ${oneLine(text, TEXT_SHOWN)}: ${oneLine(answer, TEXT_SHOWN)}`,
      ),
  ];
  if (mediaFailures.length > 0) lines.push(row('disks', `${plural(mediaFailures.length, 'request')} failed`));
  if (findings.length === 0) lines.push(row('guard', paint.green('nothing found')));
  else lines.push(row('guard', paint.red(plural(findings.length, 'finding'))));
  for (const { rule, message, count } of findings.slice(0, FINDINGS_SHOWN))
    lines.push(`     ${paint.red(rule)}  ${RULES[rule]}, ${plural(count, 'time')}`, `       ${message}`);
  if (findings.length > FINDINGS_SHOWN) lines.push(`     and ${findings.length - FINDINGS_SHOWN} more`);
  for (const device of outcome.devices) {
    const text = device.survived ? paint.green('survived') : paint.red('did not come back after a reset');
    lines.push(row(device.name, `${device.type}: ${text}`));
  }
  return lines.join('\n');
}
