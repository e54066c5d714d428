// `backplane scripts`: the assembler and the disassembler of the LSI 53C8xx's programs.

import { readFileSync, writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import {
  assemble,
  disassemble,
  readWords,
  ScriptsError,
  toHex,
  toJson,
  toListing,
} from '../scripts/index.ts';
import { EXIT_FINE, EXIT_USAGE, suggest, UsageError } from './errors.ts';
import { attempt } from './input.ts';
import { formatPath, oneLine } from './style.ts';

const FORMATS = ['listing', 'hex', 'json'] as const;
/** Far beyond any program: the chip's jumps reach 8 MiB. */
const SOURCE_MAX = 1 << 24;
const SHOWN_ERROR_MAX = 400;

interface AsmOptions {
  readonly output?: string;
  readonly format?: string;
  readonly json?: boolean;
}

interface DisasmOptions {
  readonly output?: string;
  readonly longMoves?: boolean;
  readonly json?: boolean;
}

/** Adds the command and its two subcommands. */
export function addScripts(root: Command): void {
  const scripts = root
    .command('scripts')
    .description('assemble and disassemble programs of the LSI 53C8xx (docs/SCRIPTS.md has the language)')
    .addHelpText(
      'before',
      'Example:\n  backplane scripts asm my.ss --format hex | backplane scripts disasm -\n',
    );
  scripts
    .command('asm')
    .argument('<file>', 'SCRIPTS source; - reads standard input')
    .description('assemble a source: its words, entries and what a loader has to patch')
    .option('--output <path>', 'write to a file')
    .addOption(new Option('--format <name>', 'listing, hex or json (default: listing)'))
    .option('--json', 'the same as --format json')
    .addHelpText(
      'before',
      'Examples:\n  backplane scripts asm my.ss\n  backplane scripts asm my.ss --format json --output my.json\n',
    )
    .action((file: string, options: AsmOptions) => {
      process.exitCode = asm(file, options);
    });
  scripts
    .command('disasm')
    .argument('<file>', 'words as `scripts asm` writes them in JSON or hex; - reads standard input')
    .description('disassemble words to a source that becomes the same words again')
    .option('--output <path>', 'write to a file')
    .option('--long-moves', 'direct block moves have 64-bit addresses (the chip runs with EN64DBMV set)')
    .option('--json', 'print one object')
    .addHelpText('before', 'Example:\n  echo 98080000 00000042 | backplane scripts disasm -\n')
    .action((file: string, options: DisasmOptions) => {
      process.exitCode = disasm(file, options);
    });
}

function asm(file: string, options: AsmOptions): number {
  const format = options.format ?? (options.json === true ? 'json' : 'listing');
  if (!FORMATS.some((known) => known === format))
    throw new UsageError(`there is no format "${format}"${suggest(format, FORMATS)}`);
  if (options.json === true && format !== 'json')
    throw new UsageError(`--json and --format ${format} contradict each other`);
  const source = readText(file);
  const name = file === '-' ? 'stdin' : formatPath(file);
  try {
    const program = assemble(source, { file: name });
    const print = {
      listing: () => toListing(program, source),
      hex: () => toHex(program),
      json: () => toJson(program),
    };
    put(print[format as (typeof FORMATS)[number]](), options.output);
    return EXIT_FINE;
  } catch (error) {
    if (!(error instanceof ScriptsError)) throw error;
    for (const line of error.message.split('\n'))
      process.stderr.write(`backplane: ${oneLine(line, SHOWN_ERROR_MAX)}\n`);
    return EXIT_USAGE;
  }
}

function disasm(file: string, options: DisasmOptions): number {
  const read = wordsOf(file);
  const { labels } = read;
  const text = disassemble(read.words, { labels, longMoves: options.longMoves ?? false });
  const { length } = read.words;
  put(
    options.json === true ? `${JSON.stringify({ words: length, source: text }, null, 2)}\n` : text,
    options.output,
  );
  return EXIT_FINE;
}

function wordsOf(file: string): ReturnType<typeof readWords> {
  const text = readText(file);
  try {
    return readWords(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const name = file === '-' ? 'stdin' : formatPath(file);
    throw new UsageError(`${name}: ${oneLine(error.message, SHOWN_ERROR_MAX)}`);
  }
}

function readText(file: string): string {
  const bytes = attempt(file, () => readFileSync(file === '-' ? 0 : file));
  if (bytes.length > SOURCE_MAX)
    throw new UsageError(`${formatPath(file)} has ${bytes.length} bytes; at most ${SOURCE_MAX} are read`);
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

function put(text: string, output: string | undefined): void {
  if (output === undefined) process.stdout.write(text);
  else attempt(output, () => writeFileSync(output, text));
}
