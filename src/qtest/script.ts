// Scripts of the protocol, as public bug reports have them: lines of commands, with comments and perhaps the command line
// of an emulator around them. Replayed, they show what devices do, what the guard finds, and whether devices survive.

import type { Finding } from '../guard/index.ts';
import { type CommandLine, readCommandLine } from './command-line.ts';
import { QtestError } from './errors.ts';
import { QtestSession } from './protocol.ts';
import { System, type SystemOptions } from './system.ts';

/** A script taken apart. */
export interface Script {
  /** Arguments of the emulator that the script was written for, empty where none are named. */
  readonly args: readonly string[];
  /** The number of the line that they stand in; 0: in none. */
  readonly argsLine: number;
  /** Commands, each with the number of its line. */
  readonly commands: readonly ScriptCommand[];
}

export interface ScriptCommand {
  readonly line: number;
  readonly text: string;
}

export interface ScriptDevice {
  readonly name: string;
  readonly type: string;
  /** After the script and a reset it is there as before, with nothing left to do. */
  readonly survived: boolean;
}

export interface ScriptOutcome {
  readonly machine: string;
  readonly ramBytes: number;
  readonly devices: readonly ScriptDevice[];
  /** Commands that were run, and those that the protocol refused with what it said. */
  readonly commands: number;
  readonly refused: readonly { readonly line: number; readonly text: string; readonly answer: string }[];
  readonly findings: readonly Finding[];
  /** Requests to disks that failed. */
  readonly mediaFailures: readonly string[];
  readonly survived: boolean;
}

/** A mistake of the devices' model: the command at which it showed, and what it said. */
export class ScriptCrash extends Error {
  override readonly name = 'ScriptCrash';
}

/** A command of the protocol: a word, then arguments. */
const COMMAND =
  /^(?:in|out|read|write)[bwlq]?\s|^(?:b64(?:read|write)|memset|clock_(?:step|set)|irq_intercept_\w+|endianness|module_load)\b/;
/** What logs write before a command. */
const LOGGED = /^\[R [^\]]*\]\s*/;
/** What logs have beside commands. */
const NOT_SENT =
  /^(?:\[[SI] [^\]]*\]|OK\b|ERR\b|FAIL\b|IRQ\b|EOF$|\[[IS]\b|\S*-system-(?:x86_64|i386): |==\d+==)/;
/** The program that a line starts, and not only speaks of. */
const PROGRAM = /(?:^|[\s/])[\w.-]*-system-(?:x86_64|i386)(?=\s+-|\s*$)/;
/** Characters of a line that a message shows. */
const LINE_SHOWN = 60;

/** Takes a script apart. Throws QtestError, which names the line that is no command. */
export function parseScript(text: string): Script {
  const commands: ScriptCommand[] = [];
  let args: string[] = [];
  let argsLine = 0;
  if (text.includes('\0')) throw new QtestError('it is binary; a script is text, one command a line');
  const lines = text.replaceAll('\r', '').split('\n');
  for (let i = 0; i < lines.length; i++) {
    const number = i + 1;
    let line = (lines[i] ?? '').trim();
    while (line.endsWith('\\') && i + 1 < lines.length)
      line = `${line.slice(0, -1)} ${(lines[++i] ?? '').trim()}`;
    const given = argumentsIn(line);
    if (given !== null) {
      if (given.length > 0) [args, argsLine] = [given, number];
    } else if (line !== '' && !line.startsWith('#') && !line.startsWith('//')) {
      const command = line.replace(LOGGED, '');
      if (COMMAND.test(`${command} `)) commands.push({ line: number, text: command });
      else if (!NOT_SENT.test(line))
        throw new QtestError(
          `line ${number}: "${line.slice(0, LINE_SHOWN)}" is no command of the protocol, such as outl 0xcf8 0x80000810`,
        );
    }
  }
  return { args, argsLine, commands };
}

/** The arguments in a line that starts an emulator, or a comment that begins with options; null: there are none. */
function argumentsIn(line: string): string[] | null {
  const plain = line.replace(/^(?:#+|\/\/)\s*/, '');
  const program = PROGRAM.exec(plain);
  const isComment = plain !== line && /^-{1,2}[A-Za-z]/.test(plain);
  if (program === null && !isComment) return null;
  const rest = program === null ? plain : plain.slice(program.index + program[0].length);
  const words = Array.from(
    rest
      .replace(/<<-?\s*['"]?\w+['"]?.*$/, '')
      .replace(/[|;&].*$|\s(?:2?>|<).*$/, '')
      .matchAll(/"([^"]*)"|'([^']*)'|((?:[^\s"']|"[^"]*"|'[^']*')+)/g),
    ([, double, single, bare]) => double ?? single ?? (bare ?? '').replace(/["']/g, ''),
  );
  return withoutTransport(words);
}

/** Where the original was spoken to, and what it ran on, is of no use here. */
function withoutTransport(words: readonly string[]): string[] {
  const isTransport = (word = ''): boolean =>
    /^--?(?:qtest|qtest-log|chardev|mon|monitor|qmp|accel)$/.test(word);
  return words.filter(
    (word, i) => !isTransport(word) && !isTransport(words[i - 1]) && word !== '-enable-kvm',
  );
}

/**
 * The machine that the script's arguments describe, with what people said on the command line instead or in addition; their
 * words that belong to no option are put into `operands`. Throws QtestError, with the line where the script is wrong.
 */
export function commandLineFor(
  script: Script,
  added: readonly string[],
  operands: string[] | null = null,
): CommandLine {
  const { args, argsLine } = script;
  try {
    readCommandLine(args);
  } catch (error) {
    throw new QtestError(`line ${argsLine}: ${(error as QtestError).message}`);
  }
  const line = readCommandLine([...args, ...withoutTransport(added)], operands);
  if (line.show !== null) throw new QtestError('a script cannot ask for help or the version');
  return line;
}

/**
 * Replays a script on a new machine whose guard watches addresses. Throws QtestError, MachineError or MediumError where the
 * machine cannot be, and ScriptCrash for a mistake of ours.
 */
export async function replay(
  script: Script,
  line: CommandLine,
  options: Pick<SystemOptions, 'readText' | 'module'>,
): Promise<ScriptOutcome> {
  // Nobody tells the guard of mappings here.
  const guard = { mappings: false, uninitialised: false, ownership: false };
  const system = await System.create(line, { ...options, guard });
  const session = new QtestSession(system);
  const refused: { line: number; text: string; answer: string }[] = [];
  for (const { line: number, text } of script.commands) {
    const answer = attempt(`line ${number}: ${text}`, () => session.execute(text)).trim();
    if (answer.startsWith('ERR')) refused.push({ line: number, text, answer });
  }
  const { machine } = system;
  const findings = machine.guard.findings();
  const mediaFailures = [...machine.mediaFailures];
  const devices = attempt('the reset behind the script', () => examine(system));
  system.close();
  return {
    machine: line.machine,
    ramBytes: line.ramBytes,
    devices,
    commands: script.commands.length,
    refused,
    findings,
    mediaFailures,
    survived: devices.every(({ survived }) => survived),
  };
}

function attempt<T>(where: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new ScriptCrash(`${where}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Lets devices finish, resets them, and looks whether they are what they were. */
function examine(system: System): ScriptDevice[] {
  const { machine, tree } = system;
  system.settle();
  const before = machine.controllers.map((controller) => controller.configRead(0, 4));
  system.board.reset();
  system.settle();
  return machine.controllers.map((controller, i) => {
    const device = tree.devices.find((candidate) => candidate.controller === controller);
    const isSame = controller.configRead(0, 4) === before[i] && controller.configRead(4, 2) === 0;
    return {
      name: controller.name,
      type: device?.type.name ?? controller.kind,
      survived: isSame && !system.busy,
    };
  });
}
