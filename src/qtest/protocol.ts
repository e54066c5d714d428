// The text protocol: one command a line, answered in order, with lines about interrupts in between.

import type { AccessSize } from '../machine/index.ts';
import type { System } from './system.ts';

/** Bytes that one command may read or write. */
const LENGTH_MAX = 2 ** 27;
/** Characters of a line: a write of so many bytes, and its head. */
const LINE_MAX = 2 * LENGTH_MAX + 1024;
const PORT_MAX = 0xffff;
/** Addresses from here on are nobody's. */
const NOWHERE = 2 ** 52;
const EXACT_MAX = 2 ** 53;

type Words = readonly string[];
/** Returns what follows OK. */
type Command = (system: System, words: Words) => string;

/** A mistake in a command: the answer says it after ERR. */
class CommandError extends Error {}

const COMMANDS = new Map<string, Command>([
  ...accesses('b', 1),
  ...accesses('w', 2),
  ...accesses('l', 4),
  ['readq', readQuad],
  ['writeq', writeQuad],
  ['read', (system, words) => `0x${readBytes(system, words).toString('hex')}`],
  ['b64read', (system, words) => readBytes(system, words).toString('base64')],
  ['write', writeHex],
  ['b64write', writeBase64],
  ['memset', fill],
  ['clock_step', (system, words) => `${system.stepClock(words.length > 1 ? numberAt(words, 1) : null)}`],
  ['clock_set', (system, words) => `${system.setClock(numberAt(words, 1))}`],
  ['irq_intercept_in', interceptIn],
  ['irq_intercept_out', interceptOut],
  ['endianness', () => 'little'],
  ['module_load', () => ''],
]);

/** Takes bytes as they come, and answers whole lines, many at once. */
export class QtestSession {
  readonly #system: System;
  readonly #interrupts: string[] = [];
  #rest = '';

  constructor(system: System) {
    this.#system = system;
  }

  /** An input of the interrupt controller changed: the client hears of it before the next answer. */
  interrupt(input: number, raised: boolean): void {
    this.#interrupts.push(`IRQ ${raised ? 'raise' : 'lower'} ${input}\n`);
  }

  /** What the client has to hear that no command of its own has caused. */
  news(): string {
    return this.#interrupts.splice(0).join('');
  }

  /** What to answer to the commands whose lines end in `text`. */
  receive(text: string): string {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    let answers = '';
    for (const line of lines) answers += this.execute(line);
    if (this.#rest.length > LINE_MAX) {
      this.#rest = '';
      answers += `ERR a line of more than ${LINE_MAX} characters\n`;
    }
    return answers;
  }

  /** Runs one command and what devices do because of it; the answer, after the lines about interrupts. */
  execute(line: string): string {
    const words = line.trim().split(/ +/);
    const name = words[0] ?? '';
    if (name === '') return '';
    let answer: string;
    try {
      const command = COMMANDS.get(name);
      if (command === undefined) throw new CommandError(`unknown command '${name}'`);
      const value = command(this.#system, words);
      answer = value === '' ? 'OK\n' : `OK ${value}\n`;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      answer = `ERR ${error.message}\n`;
    }
    this.#system.settle();
    return this.#interrupts.length === 0 ? answer : this.news() + answer;
  }
}

/** The commands for accesses of `size` bytes, whose names end in `letter`. */
function accesses(letter: string, size: AccessSize): (readonly [string, Command])[] {
  return [
    [`in${letter}`, ({ board }, words) => `0x${hex(board.readPort(portAt(words), size), 4)}`],
    [
      `out${letter}`,
      ({ board }, words) => {
        board.writePort(portAt(words), size, valueAt(words, 2, size));
        return '';
      },
    ],
    [`read${letter}`, ({ board }, words) => `0x${hex(board.load(addressAt(words), size), 16)}`],
    [
      `write${letter}`,
      ({ board }, words) => {
        board.store(addressAt(words), size, valueAt(words, 2, size));
        return '';
      },
    ],
  ];
}

/** Devices have no registers of eight bytes that must be read at once: the low half comes first. */
function readQuad({ board }: System, words: Words): string {
  const address = addressAt(words);
  const low = board.load(address, 4);
  return `0x${hex(board.load(address + 4, 4), 8)}${hex(low, 8)}`;
}

function writeQuad({ board }: System, words: Words): string {
  const address = addressAt(words);
  const value = BigInt.asUintN(64, bigAt(words, 2));
  board.store(address, 4, Number(value & 0xffffffffn));
  board.store(address + 4, 4, Number(value >> 32n));
  return '';
}

function readBytes({ board }: System, words: Words): Buffer {
  const bytes = board.readBytes(addressAt(words), lengthAt(words));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** What is missing of the data is zero. */
function writeHex({ board }: System, words: Words): string {
  const address = addressAt(words);
  const length = lengthAt(words);
  const data = wordAt(words, 3);
  const digits = data.slice(2, 2 + 2 * length);
  const bytes = Buffer.alloc(length);
  if (!data.startsWith('0x') || bytes.write(digits, 'hex') < digits.length >> 1)
    throw new CommandError('the data must be 0x and hexadecimal digits');
  board.writeBytes(address, bytes);
  return '';
}

function writeBase64({ board }: System, words: Words): string {
  const address = addressAt(words);
  const length = lengthAt(words);
  const bytes = Buffer.from(wordAt(words, 3), 'base64');
  if (bytes.length !== length) throw new CommandError(`${bytes.length} bytes of data, not ${length}`);
  board.writeBytes(address, bytes);
  return '';
}

function fill({ board }: System, words: Words): string {
  board.writeBytes(addressAt(words), Buffer.alloc(lengthAt(words), valueAt(words, 3, 1)));
  return '';
}

/** How clients call the interrupt controller whose inputs they watch. */
const INTERRUPT_CONTROLLERS = /^(?:ioapic|\/machine\/.*\/?ioapic|\/machine\/unattached\/device\[\d+\])$/;

function interceptIn(system: System, words: Words): string {
  const path = wordAt(words, 1);
  if (!INTERRUPT_CONTROLLERS.test(path)) throw new CommandError(`unknown device '${path}'; there is ioapic`);
  system.watchInterrupts();
  return '';
}

/** No device here has an output other than into the interrupt controller: there is nothing to hear. */
function interceptOut(system: System, words: Words): string {
  const path = wordAt(words, 1);
  if (system.tree.find(path) === undefined) throw new CommandError(`unknown device '${path}'`);
  return '';
}

// Words.

function wordAt(words: Words, i: number): string {
  const word = words[i];
  if (word === undefined) throw new CommandError(`'${words[0]}' needs ${i} argument${i === 1 ? '' : 's'}`);
  return word;
}

/** Decimal, 0x and hexadecimal, or 0 and octal digits. */
function bigAt(words: Words, i: number): bigint {
  const word = wordAt(words, i);
  if (/^(?:0x[\da-f]+|0|[1-9]\d*)$/i.test(word)) return BigInt(word);
  if (/^0[0-7]+$/.test(word)) return BigInt(`0o${word.slice(1)}`);
  throw new CommandError(`'${word}' is no number`);
}

/** A number that is exact. */
function numberAt(words: Words, i: number): number {
  const word = words[i];
  // Most are short and hexadecimal.
  if (word !== undefined && word.length <= 14 && word.startsWith('0x')) {
    const value = Number(word);
    if (!Number.isNaN(value)) return value;
  }
  const value = Number(bigAt(words, i));
  if (value < EXACT_MAX) return value;
  throw new CommandError(`'${word}' is too large`);
}

function portAt(words: Words): number {
  const port = numberAt(words, 1);
  if (port <= PORT_MAX) return port;
  throw new CommandError(`'${words[1]}' is no port: there are ${PORT_MAX + 1}`);
}

function addressAt(words: Words): number {
  const word = wordAt(words, 1);
  if (word.length <= 14 && word.startsWith('0x')) return numberAt(words, 1);
  const address = bigAt(words, 1);
  return address < BigInt(NOWHERE) ? Number(address) : NOWHERE;
}

function valueAt(words: Words, i: number, size: AccessSize): number {
  const word = wordAt(words, i);
  const value = word.length <= 10 ? numberAt(words, i) : Number(BigInt.asUintN(8 * size, bigAt(words, i)));
  return value % 2 ** (8 * size);
}

function lengthAt(words: Words): number {
  const length = numberAt(words, 2);
  if (length <= LENGTH_MAX) return length;
  throw new CommandError(`${length} bytes; one command moves at most ${LENGTH_MAX}`);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
