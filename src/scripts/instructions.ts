// The statements that make instructions. Each takes the tokens behind its word and hands words with holes to the
// emitter.
//
// [1] LSI53C895A Technical Manual, chapter 5
// [2] Symbios PCI-SCSI I/O Processors Programming Guide: the language

import * as isa from '../../assembly/lsi53c895a/scripts.ts';
import type { Cursor } from './cursor.ts';
import {
  ADDRESS,
  COMPARE,
  COUNT,
  DATA_BYTE,
  DISTANCE,
  type Field,
  type HoleRequest,
  MASK,
  NUMBER,
  TABLE_OFFSET,
  TARGET_ID,
} from './emitter.ts';
import { type Expression, parseExpression } from './expression.ts';
import { nearest, type Place } from './problems.ts';
import { REGISTER_NAMES, registerAddress, SFBR } from './registers.ts';
import { type Arch, PHASE_NUMBERS } from './words.ts';

/** An instruction as far as its statement says it. */
export interface Draft {
  readonly words: number[];
  readonly holes: HoleRequest[];
}

export interface Context {
  readonly cursor: Cursor;
  readonly arch: Arch;
}

export type Instruction = (context: Context) => Draft;

const ZERO: Expression = { kind: 'number', value: 0 };
/** OR with 0: what moves a byte unchanged. */
const COPY = isa.SCRIPT_OP_OR;

// Move.

const move: Instruction = (context) => {
  const { cursor } = context;
  if (cursor.accept('MEMORY')) return moveMemory(cursor);
  const name = cursor.token.kind === 'name' ? cursor.token.text : '';
  const isRegister =
    registerAddress(name) !== undefined || (cursor.is('REG') && cursor.following.text === '(');
  if (isRegister) return moveRegister(cursor);
  return moveBlock(context, isa.SCRIPT_MOVE, false);
};

/** [1] 5.2. `opcode` is the bit for initiators; targets have the other one. */
function moveBlock({ cursor }: Context, opcode: number, long: boolean): Draft {
  let first = isa.SCRIPT_BLOCK_MOVE;
  const words = [0, 0];
  const holes: HoleRequest[] = [];
  if (!long && cursor.accept('FROM')) {
    first |= isa.SCRIPT_TABLE;
    holes.push(hole(cursor, 1, TABLE_OFFSET));
  } else {
    const place = cursor.token;
    const count = parseExpression(cursor);
    // MOVE value TO register begins as a block move does.
    if (!long && cursor.is('TO')) return moveValue(cursor, count, place);
    holes.push({ word: 0, field: COUNT, expression: count, place });
    cursor.expect(',', 'a block move');
    if (!long && cursor.accept('PTR')) first |= isa.SCRIPT_INDIRECT;
    if (long) longAddress(cursor, words, holes);
    else holes.push(hole(cursor, 1, ADDRESS));
  }
  cursor.expect(',', 'a block move');
  const target = cursor.expectOneOf(['WHEN', 'WITH'], 'word between address and phase') === 'WITH';
  first |= phase(cursor) << isa.SCRIPT_PHASE_SHIFT;
  if (target) opcode ^= isa.SCRIPT_MOVE;
  words[0] = (first | opcode) >>> 0;
  return { words, holes };
}

/** `high:low`, or the low half alone. */
function longAddress(cursor: Cursor, words: number[], holes: HoleRequest[]): void {
  const place = cursor.token;
  const expression = parseExpression(cursor);
  words.push(0);
  if (!cursor.accept(':')) {
    holes.push({ word: 1, field: ADDRESS, expression, place });
    return;
  }
  holes.push({ word: 2, field: NUMBER, expression, place }, hole(cursor, 1, ADDRESS));
}

/** [1] 5.6. */
function moveMemory(cursor: Cursor): Draft {
  let first = isa.SCRIPT_MEMORY;
  if (cursor.accept('NO')) {
    cursor.expect('FLUSH', 'MOVE MEMORY NO');
    first |= isa.SCRIPT_MEMORY_NO_FLUSH;
  } else if (cursor.accept('NOFLUSH')) first |= isa.SCRIPT_MEMORY_NO_FLUSH;
  const holes = [hole(cursor, 0, COUNT)];
  cursor.expect(',', 'MOVE MEMORY');
  holes.push(hole(cursor, 1, ADDRESS));
  cursor.expect(',', 'MOVE MEMORY');
  holes.push(hole(cursor, 2, ADDRESS));
  return { words: [first >>> 0, 0, 0], holes };
}

/** [1] 5.4: MOVE value TO register. */
function moveValue(cursor: Cursor, expression: Expression, place: Place): Draft {
  cursor.expect('TO', 'MOVE');
  const to = register(cursor);
  return readWrite(isa.SCRIPT_MODIFY, isa.SCRIPT_OP_LOAD, to, [
    { word: 0, field: DATA_BYTE, expression, place },
  ]);
}

const OPERATORS: Readonly<Record<string, number>> = {
  SHL: isa.SCRIPT_OP_SHL,
  '|': isa.SCRIPT_OP_OR,
  OR: isa.SCRIPT_OP_OR,
  '^': isa.SCRIPT_OP_XOR,
  XOR: isa.SCRIPT_OP_XOR,
  '&': isa.SCRIPT_OP_AND,
  AND: isa.SCRIPT_OP_AND,
  SHR: isa.SCRIPT_OP_SHR,
  '+': isa.SCRIPT_OP_ADD,
  '-': isa.SCRIPT_OP_ADD,
};

/** [1] 5.4: MOVE register [operator value] TO register [WITH CARRY]. */
function moveRegister(cursor: Cursor): Draft {
  const start = cursor.token;
  const from = register(cursor);
  let operator = COPY;
  let usesSfbr = false;
  const holes: HoleRequest[] = [];
  if (!cursor.is('TO')) {
    const sign = cursor.token;
    const known = OPERATORS[sign.text.toUpperCase()];
    if (known === undefined)
      throw cursor.error(`${cursor.found()}; after a register come TO, |, ^, &, +, -, SHL or SHR`);
    cursor.next();
    operator = known;
    const isShift = known === isa.SCRIPT_OP_SHL || known === isa.SCRIPT_OP_SHR;
    if (!isShift && cursor.is('SFBR') && sign.text !== '-') {
      cursor.next();
      usesSfbr = true;
    } else if (!isShift) holes.push({ ...hole(cursor, 0, DATA_BYTE), negate: sign.text === '-' });
  }
  cursor.expect('TO', 'MOVE');
  const to = register(cursor);
  if (cursor.accept('WITH')) {
    cursor.expect('CARRY', 'MOVE … WITH');
    if (operator !== isa.SCRIPT_OP_ADD)
      throw cursor.error('WITH CARRY goes with + and - only; shifts use the carry anyway', start);
    operator = isa.SCRIPT_OP_ADC;
  }
  let opcode = isa.SCRIPT_MODIFY;
  if (from !== to) {
    if (from === SFBR) opcode = isa.SCRIPT_FROM_SFBR;
    else if (to === SFBR) opcode = isa.SCRIPT_TO_SFBR;
    else
      throw cursor.error(
        'a byte moves from a register to itself, to SFBR, or from SFBR; use two moves',
        start,
      );
  }
  const draft = readWrite(opcode, operator, from === SFBR ? to : from, holes);
  if (usesSfbr) draft.words[0] = ((draft.words[0] as number) | isa.SCRIPT_USE_SFBR) >>> 0;
  return draft;
}

function readWrite(opcode: number, operator: number, address: number, holes: HoleRequest[]): Draft {
  const first =
    isa.SCRIPT_IO |
    (opcode << isa.SCRIPT_OPCODE_SHIFT) |
    (operator << isa.SCRIPT_PHASE_SHIFT) |
    ((address & isa.SCRIPT_REGISTER_MASK) << isa.SCRIPT_REGISTER_SHIFT) |
    (address & isa.SCRIPT_REGISTER_HIGH);
  return { words: [first >>> 0, 0], holes };
}

// Load and store, [1] 5.7.

function loadStore(first: number): Instruction {
  return ({ cursor, arch }) => {
    if (!arch.loadStore) throw cursor.error('this chip has no LOAD and STORE; MOVE MEMORY does it');
    let word = isa.SCRIPT_MEMORY | isa.SCRIPT_LOAD_STORE | first;
    const place = cursor.token;
    if (cursor.accept('NOFLUSH')) {
      if (first !== 0) throw cursor.error('NOFLUSH goes with STORE', place);
      word |= isa.SCRIPT_LS_NO_FLUSH;
    }
    const address = register(cursor);
    cursor.expect(',', 'LOAD and STORE');
    const bytes = cursor.next();
    const room = 4 - (address & 3);
    if (bytes.kind !== 'number' || bytes.value < 1 || bytes.value > room)
      throw cursor.error(`"${bytes.text}" must be a number of bytes from 1 to ${room} here`, bytes);
    cursor.expect(',', 'LOAD and STORE');
    word |= (address << isa.SCRIPT_LS_REGISTER_SHIFT) | bytes.value;
    const fromDsa = cursor.accept('DSAREL');
    if (fromDsa) {
      word |= isa.SCRIPT_LS_DSA;
      cursor.expect('(', 'DSAREL');
    }
    const holes = [hole(cursor, 1, fromDsa ? TABLE_OFFSET : ADDRESS)];
    if (fromDsa) cursor.expect(')', 'DSAREL');
    return { words: [word >>> 0, 0], holes };
  };
}

// I/O, [1] 5.3.

const select: Instruction = ({ cursor }) => {
  let first = isa.SCRIPT_IO | (isa.SCRIPT_SELECT << isa.SCRIPT_OPCODE_SHIFT);
  if (cursor.accept('ATN')) first |= isa.SCRIPT_IO_ATN;
  const holes: HoleRequest[] = [];
  if (cursor.accept('FROM')) {
    first |= isa.SCRIPT_IO_TABLE;
    holes.push(hole(cursor, 0, TABLE_OFFSET));
  } else holes.push(hole(cursor, 0, TARGET_ID));
  cursor.expect(',', 'SELECT');
  return withTarget(cursor, first, isa.SCRIPT_IO_RELATIVE, holes);
};

const wait: Instruction = ({ cursor }) => {
  const what = cursor.expectOneOf(['DISCONNECT', 'RESELECT', 'SELECT'], 'thing to wait for');
  if (what === 'DISCONNECT') return disconnect({ cursor, arch: NO_ARCH });
  const first = isa.SCRIPT_IO | (isa.SCRIPT_WAIT_RESELECT << isa.SCRIPT_OPCODE_SHIFT);
  return withTarget(cursor, first, isa.SCRIPT_IO_RELATIVE, []);
};
const NO_ARCH: Arch = { loadStore: true, wide: true, long: true };

const disconnect: Instruction = () => ({
  words: [isa.SCRIPT_IO | (isa.SCRIPT_WAIT_DISCONNECT << isa.SCRIPT_OPCODE_SHIFT), 0],
  holes: [],
});

/** What SET and CLEAR take, in the order in which it comes out. */
export const SIGNALS: readonly (readonly [string, number])[] = [
  ['CARRY', isa.SCRIPT_SET_CARRY],
  ['TARGET', isa.SCRIPT_SET_TARGET],
  ['ACK', isa.SCRIPT_SET_ACK],
  ['ATN', isa.SCRIPT_SET_ATN],
];

function setClear(opcode: number): Instruction {
  return ({ cursor }) => {
    let first = isa.SCRIPT_IO | (opcode << isa.SCRIPT_OPCODE_SHIFT);
    const names = SIGNALS.map(([name]) => name);
    do {
      const name = cursor.expectOneOf(names, 'signal');
      first |= SIGNALS.find(([candidate]) => candidate === name)?.[1] ?? 0;
    } while (cursor.accept('AND') || cursor.accept(','));
    return { words: [first, 0], holes: [] };
  };
}

// Transfer control, [1] 5.5.

function transfer(opcode: number): Instruction {
  return ({ cursor }) => {
    const first = isa.SCRIPT_TRANSFER | (opcode << isa.SCRIPT_OPCODE_SHIFT);
    const draft = withTarget(cursor, first, isa.SCRIPT_RELATIVE, []);
    return condition(cursor, draft);
  };
}

const jump64: Instruction = ({ cursor }) => {
  const words = [isa.SCRIPT_TRANSFER | isa.SCRIPT_JUMP64, 0];
  const holes: HoleRequest[] = [];
  longAddress(cursor, words, holes);
  return condition(cursor, { words, holes });
};

const ret: Instruction = ({ cursor }) =>
  condition(cursor, {
    words: [isa.SCRIPT_TRANSFER | (isa.SCRIPT_RETURN << isa.SCRIPT_OPCODE_SHIFT), 0],
    holes: [],
  });

function interrupt(flag: number): Instruction {
  return ({ cursor }) => {
    const first = isa.SCRIPT_TRANSFER | (isa.SCRIPT_INT << isa.SCRIPT_OPCODE_SHIFT) | flag;
    const bare = cursor.token.kind === 'end' || cursor.is(',') || cursor.is('IF') || cursor.is('WHEN');
    if (bare && flag === 0) throw cursor.error(`${cursor.found()}; INT needs the number that DSPS gets`);
    const holes = bare ? [{ word: 1, field: NUMBER, expression: ZERO, place: cursor.token }] : [];
    return condition(cursor, { words: [first, 0], holes: bare ? holes : [hole(cursor, 1, ADDRESS)] });
  };
}

/** `[,] IF|WHEN [NOT] CARRY | ATN | phase [AND|OR byte [AND MASK byte]] | byte [AND MASK byte]`, or nothing. */
function condition(cursor: Cursor, draft: Draft): Draft {
  const comma = cursor.accept(',');
  if (cursor.token.kind === 'end' && !comma) return withFlags(draft, isa.SCRIPT_IF_TRUE);
  let flags = cursor.expectOneOf(['IF', 'WHEN'], 'condition') === 'WHEN' ? isa.SCRIPT_WAIT_PHASE : 0;
  const not = cursor.accept('NOT');
  if (!not) flags |= isa.SCRIPT_IF_TRUE;
  if (cursor.is('CARRY')) {
    if ((flags & isa.SCRIPT_WAIT_PHASE) !== 0)
      throw cursor.error('CARRY goes with IF: there is no phase to wait for');
    cursor.next();
    return withFlags(draft, flags | isa.SCRIPT_IF_CARRY);
  }
  const name = cursor.token.kind === 'name' ? cursor.token.text.toUpperCase() : '';
  if (name === 'ATN' || PHASE_NUMBERS.has(name)) {
    const number = name === 'ATN' ? 0 : (PHASE_NUMBERS.get(name) ?? 0);
    cursor.next();
    flags |= isa.SCRIPT_COMPARE_PHASE | (number << isa.SCRIPT_PHASE_SHIFT);
    if (cursor.token.kind === 'end') return withFlags(draft, flags);
    const [word, other] = not ? ['OR', 'AND'] : ['AND', 'OR'];
    if (cursor.is(other))
      throw cursor.error(
        `the chip has no ${other} here: ${not ? 'NOT a OR b jumps if neither is so' : 'a AND b jumps if both are so'}`,
      );
    cursor.expect(word, 'the condition');
  }
  return compareData(cursor, draft, flags);
}

function compareData(cursor: Cursor, draft: Draft, flags: number): Draft {
  if (cursor.token.kind === 'name' && RESEMBLES_PHASE.test(cursor.token.text)) {
    const near = nearest(cursor.token.text, [...PHASE_NUMBERS.keys()]);
    throw cursor.error(`${cursor.found()} is no phase${near}`);
  }
  draft.holes.push(hole(cursor, 0, COMPARE));
  if (cursor.accept('AND')) {
    cursor.expect('MASK', 'the comparison');
    draft.holes.push(hole(cursor, 0, MASK));
  }
  return withFlags(draft, flags | isa.SCRIPT_COMPARE_DATA);
}
const RESEMBLES_PHASE = /^(?:data|msg|message|stat|comm?and|cmd)[_a-z]*$/i;

function withFlags(draft: Draft, flags: number): Draft {
  draft.words[0] = ((draft.words[0] as number) | flags) >>> 0;
  return draft;
}

// Operands.

function withTarget(cursor: Cursor, first: number, relative: number, holes: HoleRequest[]): Draft {
  const isRelative = cursor.accept('REL');
  if (isRelative) cursor.expect('(', 'REL');
  holes.push(hole(cursor, 1, isRelative ? DISTANCE : ADDRESS));
  if (isRelative) cursor.expect(')', 'REL');
  return { words: [(first | (isRelative ? relative : 0)) >>> 0, 0], holes };
}

function hole(cursor: Cursor, word: number, field: Field): HoleRequest {
  const place = cursor.token;
  return { word, field, expression: parseExpression(cursor), place };
}

function phase(cursor: Cursor): number {
  return PHASE_NUMBERS.get(cursor.expectOneOf([...PHASE_NUMBERS.keys()], 'phase')) ?? 0;
}

function register(cursor: Cursor): number {
  const { token } = cursor;
  if (cursor.is('REG') && cursor.following.text === '(') {
    cursor.next();
    cursor.next();
    const number = cursor.next();
    if (number.kind !== 'number' || number.value > 0xff)
      throw cursor.error(`"${number.text}" is no address of a register, 0 to 0xff`, number);
    cursor.expect(')', 'REG');
    return number.value;
  }
  const address = token.kind === 'name' ? registerAddress(token.text) : undefined;
  if (address === undefined) {
    const near = token.kind === 'name' ? nearest(token.text, REGISTER_NAMES) : '';
    throw cursor.error(`${cursor.found()} is no register${near}`);
  }
  cursor.next();
  return address;
}

function block(opcode: number, needs: keyof Arch | '', long: boolean): Instruction {
  return (context) => {
    if (needs !== '' && !context.arch[needs])
      throw context.cursor.error(
        needs === 'wide'
          ? 'this chip has no CHMOV: its SCSI bus has 8 bits'
          : 'this chip has no 64-bit addresses',
      );
    return moveBlock(context, opcode, long);
  };
}

/** Every instruction by its first word. */
export const INSTRUCTIONS: Readonly<Record<string, Instruction>> = {
  MOVE: move,
  MOVE64: block(isa.SCRIPT_MOVE, 'long', true),
  CHMOV: block(0, 'wide', false),
  CHMOV64: block(0, 'long', true),
  LOAD: loadStore(isa.SCRIPT_LS_LOAD),
  STORE: loadStore(0),
  SELECT: select,
  RESELECT: select,
  WAIT: wait,
  DISCONNECT: disconnect,
  SET: setClear(isa.SCRIPT_SET),
  CLEAR: setClear(isa.SCRIPT_CLEAR),
  JUMP: transfer(isa.SCRIPT_JUMP),
  JUMP64: jump64,
  CALL: transfer(isa.SCRIPT_CALL),
  RETURN: ret,
  INT: interrupt(0),
  INTFLY: interrupt(isa.SCRIPT_INTFLY),
  NOP: () => ({ words: [isa.SCRIPT_TRANSFER, 0], holes: [] }),
};
