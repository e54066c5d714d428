// `backplane qtest`: replays a script of the protocol qtest and says what became of the devices.

import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
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

interface QtestOptions {
  readonly machine?: string;
  readonly memory?: string;
  readonly device?: readonly string[];
  readonly drive?: readonly string[];
  readonly json?: boolean;
}

export function addQtest(root: Command): void {
  const many = (flags: string, about: string): Option =>
    new Option(flags, about).argParser((value: string, all: readonly string[] | undefined) => [
      ...(all ?? []),
      value,
    ]);
  root
    .command('qtest')
    .argument(
      '<file>',
      'a script: lines of the protocol, perhaps with the command line that they are for; - reads standard input',
    )
    .description('replay a qtest script, such as a bug report has, and say what the guard found')
    .option('-M, --machine <name>', 'pc or q35, instead of what the script names (default: pc)')
    .option('-m, --memory <size>', 'RAM, in MiB unless it has a unit')
    .addOption(many('-d, --device <text>', 'another device, as in nvme,drive=d0,serial=1; may be repeated'))
    .addOption(many('--drive <text>', 'another drive, as in if=none,id=d0,file=null-co://; may be repeated'))
    .option('--json', 'print one object')
    .addHelpText(
      'before',
      [
        'Examples:',
        '  backplane qtest report.qtest',
        '  backplane qtest report.qtest -M q35 --drive if=none,id=d0,file=null-co:// --device nvme,drive=d0,serial=1',
        '',
        'Exit status: 0 nothing was found, 1 the guard found something or a device did not survive.',
        '',
      ].join('\n'),
    )
    .action(async (file: string, options: QtestOptions) => {
      process.exitCode = await qtest(file, options);
    });
}

async function qtest(file: string, options: QtestOptions): Promise<number> {
  const bytes = attempt(file, () => readFileSync(file === '-' ? 0 : file));
  if (bytes.length > SCRIPT_MAX)
    throw new UsageError(`${formatPath(file)} has ${bytes.length} bytes; at most ${SCRIPT_MAX} are read`);
  const outcome = await play(bytes.toString('utf8'), file, options);
  const found = outcome.findings.length > 0 || !outcome.survived;
  if (options.json === true) process.stdout.write(`${JSON.stringify(toJson(outcome), null, 2)}\n`);
  else process.stdout.write(`${format(outcome, formatPath(file), paintFor(process.stdout))}\n`);
  return found ? EXIT_FOUND : EXIT_FINE;
}

async function play(text: string, file: string, options: QtestOptions): Promise<ScriptOutcome> {
  const added = [
    ...(options.machine === undefined ? [] : ['-M', options.machine]),
    ...(options.memory === undefined ? [] : ['-m', options.memory]),
    ...(options.drive ?? []).flatMap((drive) => ['-drive', drive]),
    ...(options.device ?? []).flatMap((device) => ['-device', device]),
  ];
  try {
    const script = parseScript(text);
    return await replay(script, commandLineFor(script, added), {
      readText: (path) => readFileSync(path, 'utf8'),
    });
  } catch (error) {
    if (error instanceof QtestError)
      throw new UsageError(`${file === '-' ? 'stdin' : formatPath(file)}: ${error.message}`);
    throw error;
  }
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
