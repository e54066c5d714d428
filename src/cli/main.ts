// The command `backplane`. Data goes to stdout, everything else to stderr. Exit status: 0 fine, 1 found
// something, 2 usage, 3 our own fault.

import { Command, CommanderError, Option } from 'commander';
import { MachineError } from '../machine/index.ts';
import { MediumError } from '../media/index.ts';
import { ProfileError } from '../scenario/profile.ts';
import { ScenarioError } from '../scenario/schema.ts';
import { compare, DEFAULT_OPERATIONS } from './compare.ts';
import { listControllers } from './controllers.ts';
import { DriverFailure } from './driver.ts';
import { EXIT_FAULT, EXIT_FINE, EXIT_FOUND, EXIT_USAGE, UsageError } from './errors.ts';
import { addQtest } from './qtest.ts';
import { run } from './run.ts';
import { addScripts } from './scripts.ts';
import { oneLine } from './style.ts';

const VERSION = '0.1.0';
/** What the person at the keyboard can put right. */
const USER_ERRORS = [UsageError, ScenarioError, ProfileError, MachineError, MediumError];

function program(): Command {
  const root = new Command('backplane')
    .description('Disk controllers whose DMA has the limits of real hardware, and the kernels above them.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText(
      'before',
      'Example:\n  backplane run --file disk.img --controller ahci\n  backplane compare ahci nvme\n  backplane controllers\n',
    )
    .showSuggestionAfterError(true);
  addRun(root);
  root
    .command('controllers')
    .description('list the controllers, their profiles and the limits of their DMA')
    .option('--json', 'print an array of objects')
    .addHelpText('before', 'Example:\n  backplane controllers --json\n')
    .action((options: { json?: boolean }) => {
      process.exitCode = listControllers(options);
    });
  addCompare(root);
  addScripts(root);
  addQtest(root);
  for (const command of allCommands(root)) {
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return root;
}

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

function addRun(root: Command): void {
  root
    .command('run')
    .argument('[scenario]', 'name of a built-in scenario, or path of a JSON file', 'default')
    .description('run a scenario: a file goes through a kernel and a controller to a disk, and back')
    .option(
      '--file <path>',
      'the file to move, up to 512 MiB; larger ones with --image (default: one of this project)',
    )
    .option('--controller <name>', 'controller or profile, as `backplane controllers` lists them')
    .option('--profile <path>', 'a profile of your own, as JSON')
    .option(
      '--kernel <name>',
      'run all of it on this kernel: linux or solaris (default: what the scenario says)',
    )
    .option(
      '--driver <path>',
      'a driver of your own instead of ours: .mjs or .js; .ts with Node 22.18 or later, or with esbuild installed',
    )
    .option(
      '--image <path>',
      'use a disk image, or nbd://host:port/export, as the disk; it is not changed, but with --in-place',
    )
    .option('--image-format <name>', 'raw, qcow2 or vhd (default: what it looks like)')
    .option('--create <size>', 'make the image first, with this size, and write to it')
    .option('--in-place', 'write to the image: what was there is lost')
    .option('--disk-size <size>', 'size of the disk in memory, such as 64M')
    .option('--no-bounce', 'leave bouncing out, as a driver would by mistake')
    .option('--seed <number>', 'seed of everything that is by chance, 0 to 4294967295')
    .option('--trace', 'print every event to stderr')
    .option('--json', 'print one object; with --list, an array')
    .addOption(new Option('--list', 'list the built-in scenarios'))
    .addHelpText(
      'before',
      [
        'Examples:',
        '  backplane run                                     the story on an AHA-1542',
        '  backplane run --file big.iso --controller ahci    any file, another controller',
        '  backplane run --kernel solaris                    the same on Solaris',
        '  backplane run --no-bounce                         what happens if the driver forgets to bounce',
        '  backplane run --image new.qcow2 --create 1T       keep the disk in a new image',
        '  backplane run --controller ahci --driver my.mjs   a driver of your own programs the controller',
        '  backplane run my-scenario.json --json | jq .ok',
        '',
        'A driver is a file: `export default function attach(host) { … return driver }`. `host` has the controller,',
        'its registers and shared memory; the types DriverHost and Driver of backplane/drivers say what both are.',
        '',
      ].join('\n'),
    )
    .action(async (scenario: string, options) => {
      process.exitCode = await run(scenario, options);
    });
}

function addCompare(root: Command): void {
  root
    .command('compare')
    .argument('[controllers...]', 'controllers or profiles (default: all six controllers)')
    .description(
      'put one workload through Linux and Solaris: what is read, written and refused must be the same',
    )
    .option('--operations <number>', `how many (default: ${DEFAULT_OPERATIONS})`)
    .option('--seed <number>', 'seed of the workload, 0 to 4294967295 (default: 1)')
    .option('--json', 'print one object')
    .addHelpText(
      'before',
      [
        'Examples:',
        '  backplane compare                                 every controller',
        '  backplane compare aha1542 virtio-blk-segmax1      a controller, a profile',
        '  backplane compare ahci --operations 50000 --seed 7',
        '',
        'A process reads and writes from memory of every shape: within reach and beyond, at any offset, in many ranges;',
        'some sectors are bad, and some of the memory is read-only or not there. After each operation memory and disk',
        'are compared with a model. A difference is shown with the line that repeats it, and the exit status is 1.',
        '',
      ].join('\n'),
    )
    .action(async (controllers: string[], options) => {
      process.exitCode = await compare(controllers, options);
    });
}

/** Runs the command line; resolves when everything is printed. Sets process.exitCode. */
export async function main(argv: readonly string[]): Promise<void> {
  for (const [stream, name] of [
    [process.stdout, 'output'],
    [process.stderr, 'stderr'],
  ] as const) {
    stream.on('error', (error: NodeJS.ErrnoException) => process.exit(afterFailedWrite(error, name)));
  }
  const command = program();
  if (argv.length === 0) {
    process.stderr.write(command.helpInformation());
    process.exitCode = EXIT_USAGE;
    return;
  }
  try {
    await command.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** The exit status after stdout or stderr would not take what was printed. */
function afterFailedWrite(error: NodeJS.ErrnoException, name: string): number {
  if (error.code === 'EPIPE') return EXIT_FINE; // the reader of the pipe has seen enough
  if (name !== 'stderr') process.stderr.write(`backplane: the ${name} cannot be written: ${error.message}\n`);
  return EXIT_USAGE;
}

/** Says what was wrong; the exit status for it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT_FINE;
    if (error.code === 'commander.help') return EXIT_USAGE; // a command without its subcommand: the help is out
    const message = error.message.replace(/^error: /, '').replace(/\n\(/, ' (');
    process.stderr.write(`backplane: ${oneLine(message)}\n`);
    return EXIT_USAGE;
  }
  if (USER_ERRORS.some((kind) => error instanceof kind)) {
    process.stderr.write(`backplane: ${oneLine((error as Error).message)}\n`);
    return EXIT_USAGE;
  }
  if (error instanceof DriverFailure) {
    process.stderr.write(`backplane: ${error.message}\n`);
    return EXIT_FOUND;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`backplane: this is our own fault, please report it:\n${text}\n`);
  return EXIT_FAULT;
}

await main(process.argv.slice(2));
