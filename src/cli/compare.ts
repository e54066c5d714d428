// `backplane compare`: one workload through every kernel on each controller, and what each of them did for it.

import { CONTROLLERS } from '../controllers/index.ts';
import { loadModule } from '../machine/index.ts';
import { type CompareReport, compareKernels } from '../scenario/compare.ts';
import { COMPARED } from '../scenario/compare-kernels.ts';
import { checkController } from './controllers.ts';
import { EXIT_FINE, EXIT_FOUND, EXIT_INTERRUPTED, parseWhole } from './errors.ts';
import { Interrupt, Interrupted } from './interrupt.ts';
import { Progress } from './progress.ts';
import { formatBytes, formatCount, oneLine, type Paint, paintFor, plural } from './style.ts';

export interface CompareFlags {
  readonly operations?: string;
  readonly seed?: string;
  readonly json?: boolean;
}

export const DEFAULT_OPERATIONS = 2000;
const MOST_OPERATIONS = 1_000_000;
const COLUMN = 12;

/** Compares on each controller and prints; the exit status. Throws UsageError for what the user can put right. */
export async function compare(names: readonly string[], flags: CompareFlags): Promise<number> {
  const controllers = names.length === 0 ? CONTROLLERS.map(({ kind }) => kind) : names;
  for (const name of controllers) checkController(name);
  const seed = flags.seed === undefined ? 1 : parseWhole(flags.seed, '--seed', 0, 2 ** 32 - 1);
  const operations =
    flags.operations === undefined
      ? DEFAULT_OPERATIONS
      : parseWhole(flags.operations, '--operations', 1, MOST_OPERATIONS);
  const progress = new Progress(process.stderr);
  const interrupt = new Interrupt(() => process.exit(EXIT_INTERRUPTED));
  const reports: CompareReport[] = [];
  try {
    const module = await loadModule();
    for (const [i, controller] of controllers.entries()) {
      const report = await compareKernels({
        module,
        controller,
        kernels: COMPARED,
        seed,
        operations,
        onProgress: (done) => progress.show((i + done) / controllers.length, controller),
        pause: async () => {
          await progress.pause();
          interrupt.check();
        },
      });
      reports.push(report);
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    progress.end();
    process.stderr.write('backplane: interrupted\n');
    return EXIT_INTERRUPTED;
  } finally {
    progress.end();
    interrupt.end();
  }
  const text = flags.json === true ? toJson(reports) : formatReports(reports, paintFor(process.stdout));
  process.stdout.write(`${text}\n`);
  return reports.every(({ ok }) => ok) ? EXIT_FINE : EXIT_FOUND;
}

function toJson(reports: readonly CompareReport[]): string {
  const ok = reports.every((report) => report.ok);
  return JSON.stringify(
    { ok, reports: reports.map((report) => ({ ...report, replay: report.ok ? null : replay(report) })) },
    null,
    2,
  );
}

function formatReports(reports: readonly CompareReport[], paint: Paint): string {
  const [first] = reports;
  const kernels = first?.kernels.map(({ kernel }) => kernel) ?? [];
  return [
    paint.bold(
      `one workload of ${plural(first?.operations ?? 0, 'operation')} through ${kernels.join(' and ')}, seed ${first?.seed}`,
    ),
    '',
    ...table(reports, kernels, paint),
    '',
    ...reports.filter(({ ok }) => !ok).flatMap((report) => [...differenceOf(report, paint), '']),
    verdict(reports, paint),
  ].join('\n');
}

const COLUMNS = [
  ['copies', ({ copies }) => formatCount(copies)],
  ['copied', ({ copiedBytes }) => formatBytes(copiedBytes)],
  ['segments', ({ segments }) => formatCount(segments)],
  ['commands', ({ commands }) => formatCount(commands)],
] as const satisfies [string, (figures: CompareReport['kernels'][number]) => string][];

/** A row a controller; under each heading a column a kernel. */
function table(reports: readonly CompareReport[], kernels: readonly string[], paint: Paint): string[] {
  const name = Math.max(...reports.map(({ profile }) => profile.length)) + 2;
  const width = COLUMN * kernels.length;
  const headings = COLUMNS.map(([title]) => title.padStart(width)).join('');
  const under = COLUMNS.map(() => kernels.map((kernel) => kernel.padStart(COLUMN)).join('')).join('');
  const rows = reports.map(({ ok, profile, kernels: figures }) => {
    const cells = COLUMNS.map(([, show]) => figures.map((one) => show(one).padStart(COLUMN)).join(''));
    const shown = profile.padEnd(name);
    return (ok ? shown : paint.red(shown)) + cells.join('');
  });
  return [paint.dim(''.padEnd(name) + headings), paint.dim(''.padEnd(name) + under), ...rows];
}

function differenceOf(report: CompareReport, paint: Paint): string[] {
  const { difference, profile } = report;
  if (difference === null) return [];
  const when = difference.operation === null ? '' : `operation ${difference.operation + 1}, `;
  return [
    paint.red(oneLine(`${profile}, ${difference.kernel}: ${when}${difference.what}`)),
    `  to see it again: ${replay(report)}`,
  ];
}

/** The one line that shows the difference again. */
function replay({ profile, seed, smallest }: CompareReport): string {
  return `npx backplane compare ${profile} --seed ${seed} --operations ${smallest}`;
}

function verdict(reports: readonly CompareReport[], paint: Paint): string {
  const wrong = reports.filter(({ ok }) => !ok);
  if (wrong.length > 0) {
    return paint.red(
      paint.bold(`not ok: the kernels differ on ${wrong.map(({ profile }) => profile).join(', ')}`),
    );
  }
  const failures = { memory: 0, medium: 0, end: 0 };
  for (const report of reports) {
    failures.memory += report.failures.memory;
    failures.medium += report.failures.medium;
    failures.end += report.failures.end;
  }
  return [
    `requests that had to fail, and did: ${formatCount(failures.medium)} at bad sectors, ${formatCount(failures.memory)} for the process's memory, ${formatCount(failures.end)} beyond the end of the disk`,
    paint.green(
      paint.bold('ok: every read, every result and the disks at the end agree, and the guard found nothing'),
    ),
  ].join('\n');
}
