// The assembler: SCRIPTS source to a program.

import { Cursor } from './cursor.ts';
import { ADDRESS, Emitter } from './emitter.ts';
import { parseExpression, type SymbolKind, Symbols } from './expression.ts';
import { INSTRUCTIONS } from './instructions.ts';
import { statements, type Token } from './lexer.ts';
import { nearest, Problems, StatementError } from './problems.ts';
import type { ScriptsProgram } from './program.ts';
import { registerAddress } from './registers.ts';
import { ARCHES, type Arch, RESERVED } from './words.ts';

export interface AssembleOptions {
  /** How the source is called in problems and listings; default `input`. */
  readonly file?: string;
  /** Values that replace those of ABSOLUTE symbols. */
  readonly define?: Readonly<Record<string, number>>;
}

/** Assembles a source. Throws ScriptsError with everything that is wrong with it. */
export function assemble(source: string, options: AssembleOptions = {}): ScriptsProgram {
  return new Assembler(options).run(source);
}

type Declaration = (assembler: Assembler, cursor: Cursor) => void;

/** Statements that make no instruction. */
const DECLARATIONS: Readonly<Record<string, Declaration>> = {
  ABSOLUTE: (assembler, cursor) => assembler.declareValues(cursor, 'absolute'),
  RELATIVE: (assembler, cursor) => assembler.declareValues(cursor, 'relative'),
  EXTERNAL: (assembler, cursor) => assembler.declareExternals(cursor),
  ENTRY: (assembler, cursor) => assembler.addEntries(cursor),
  PROC: (assembler, cursor) => assembler.beginProc(cursor),
  PASS: (assembler, cursor) => assembler.addPass(cursor),
  ARCH: (assembler, cursor) => assembler.setArch(cursor),
  DATA: (assembler, cursor) => assembler.addData(cursor),
  // What it repeats is a statement of its own: see there.
  REPEAT: () => undefined,
};

const REPEAT_MAX = 4096;

const WORDS = [...Object.keys(DECLARATIONS), ...Object.keys(INSTRUCTIONS)];

class Assembler {
  readonly #file: string;
  readonly #define: Readonly<Record<string, number>>;
  readonly #problems: Problems;
  readonly #symbols = new Symbols();
  readonly #emitter = new Emitter();
  readonly #entries: Token[] = [];
  readonly #pass: string[] = [];
  #arch: Arch = ARCHES.get('895A') as Arch;

  constructor(options: AssembleOptions) {
    this.#file = options.file ?? 'input';
    this.#define = options.define ?? {};
    this.#problems = new Problems(this.#file);
  }

  run(source: string): ScriptsProgram {
    for (const tokens of statements(source, this.#problems)) {
      this.#try(() => this.#statement(tokens));
    }
    const rest = this.#emitter.finish(this.#file, this.#symbols, this.#problems);
    const entries: [string, number][] = [];
    for (const token of this.#entries) {
      this.#try(() => {
        entries.push([token.text, this.#labelOf(token)]);
      });
    }
    this.#problems.throwIfAny();
    const labels = [...this.#symbols.entries].filter(([, { kind }]) => kind === 'label');
    return {
      ...rest,
      entries: Object.fromEntries(entries),
      labels: Object.fromEntries(labels.map(([name, { value }]) => [name, value])),
      pass: this.#pass,
    };
  }

  declareValues(cursor: Cursor, kind: 'absolute' | 'relative'): void {
    do {
      const name = this.#newName(cursor);
      cursor.expect('=', kind.toUpperCase());
      // The name is known even if its value is not understood, so that its uses are no problems of their own.
      this.#symbols.declare(name.text, kind, 0, name);
      const value = this.#symbols.evaluate(parseExpression(cursor), this.#emitter.offset);
      if (value.base !== '') throw cursor.error(`the value of "${name.text}" must be a number`, name);
      const entry = this.#symbols.entries.get(name.text);
      if (entry !== undefined) entry.value = this.#define[name.text] ?? value.number;
    } while (cursor.accept(','));
  }

  declareExternals(cursor: Cursor): void {
    do this.#declare(this.#newName(cursor), 'external', 0);
    while (cursor.accept(','));
  }

  addEntries(cursor: Cursor): void {
    do this.#entries.push(cursor.expectName('a label'));
    while (cursor.accept(','));
  }

  /** A PROC is a label that the host may start at. */
  beginProc(cursor: Cursor): void {
    const name = this.#newName(cursor);
    cursor.expect(':', 'PROC');
    this.#declare(name, 'label', this.#emitter.offset);
    this.#entries.push(name);
  }

  addPass(cursor: Cursor): void {
    if (cursor.token.kind !== 'text') throw cursor.error(`${cursor.found()}; PASS takes text in parentheses`);
    this.#pass.push(cursor.next().text);
  }

  setArch(cursor: Cursor): void {
    const names = [...ARCHES.keys()];
    const { token } = cursor;
    // 810A is a number and a name to the lexer.
    let name = cursor.next().text;
    if (cursor.token.kind === 'name' && cursor.token.column === token.column + token.text.length)
      name += cursor.next().text;
    const arch = ARCHES.get(name.toUpperCase());
    if (arch === undefined) throw cursor.error(`"${name}" is no chip; there are ${names.join(', ')}`, token);
    this.#arch = arch;
  }

  addData(cursor: Cursor): void {
    do {
      const place = cursor.token;
      const expression = parseExpression(cursor);
      this.#emitter.instruction(place, [0], [{ word: 0, field: ADDRESS, expression, place }]);
    } while (cursor.accept(','));
  }

  #statement(tokens: readonly Token[]): void {
    const cursor = new Cursor(tokens);
    while (cursor.token.kind === 'name' && cursor.following.text === ':') {
      const name = this.#newName(cursor);
      cursor.next();
      this.#declare(name, 'label', this.#emitter.offset);
    }
    const { token } = cursor;
    if (token.kind === 'end') return;
    const word = token.text.toUpperCase();
    const declaration = DECLARATIONS[word];
    const instruction = INSTRUCTIONS[word];
    if (token.kind !== 'name' || (declaration === undefined && instruction === undefined)) {
      throw cursor.error(`${cursor.found()} is no instruction${nearest(token.text, WORDS)}`);
    }
    cursor.next();
    if (word === 'REPEAT') {
      this.#repeat(cursor, tokens);
      return;
    }
    if (instruction === undefined) {
      declaration?.(this, cursor);
      cursor.expectEnd();
      return;
    }
    const { words, holes } = instruction({ cursor, arch: this.#arch });
    cursor.expectEnd();
    this.#emitter.instruction(token, words, holes);
  }

  /** `$` and everything else is what it is at each turn. */
  #repeat(cursor: Cursor, tokens: readonly Token[]): void {
    const place = cursor.token;
    const times = this.#symbols.evaluate(parseExpression(cursor), this.#emitter.offset);
    if (times.base !== '' || times.number < 0 || times.number > REPEAT_MAX)
      throw cursor.error(`the times to repeat must be a number from 0 to ${REPEAT_MAX}`, place);
    const rest = tokens.slice(tokens.indexOf(cursor.token));
    if (cursor.following.text === ':')
      throw cursor.error('a label cannot be repeated; it goes before REPEAT');
    for (let i = 0; i < times.number; i++) this.#statement(rest);
  }

  #declare(name: Token, kind: SymbolKind, value: number): void {
    this.#symbols.declare(name.text, kind, value, name);
  }

  #newName(cursor: Cursor): Token {
    const token = cursor.expectName('a symbol');
    const upper = token.text.toUpperCase();
    if (RESERVED.has(upper))
      throw cursor.error(`"${token.text}" is a word of the language; a symbol cannot be called so`, token);
    if (registerAddress(upper) !== undefined)
      throw cursor.error(`"${token.text}" is a register; a symbol cannot be called so`, token);
    return token;
  }

  #labelOf(token: Token): number {
    const entry = this.#symbols.entries.get(token.text);
    if (entry?.kind === 'label') return entry.value;
    const labels = [...this.#symbols.entries]
      .filter(([, { kind }]) => kind === 'label')
      .map(([name]) => name);
    throw new StatementError(token, `ENTRY "${token.text}" is no label${nearest(token.text, labels)}`);
  }

  #try(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof StatementError)) throw error;
      if (error.message !== '') this.#problems.add(error.place, error.message);
    }
  }
}
