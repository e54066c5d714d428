// One instruction of words to text. What would not become the same words again is no instruction here: reserved bits
// that are set, fields that do not count but hold something, registers that a load would run over.
//
// [1] LSI53C895A Technical Manual, chapter 5

import * as isa from '../../assembly/lsi53c895a/scripts.ts';
import { SIGNALS } from './instructions.ts';
import { registerName, SFBR } from './registers.ts';
import { PHASES } from './words.ts';

/** What the disassembler knows beside the words. */
export interface Surroundings {
  /** Block moves with an address of their own have a third word (EN64DBMV is set). */
  readonly longMoves: boolean;
  /** A label for an offset in the program, if there is one. */
  label(offset: number): string | undefined;
}

export interface Decoded {
  readonly words: number;
  readonly text: string;
  /** Offset in the program that it jumps to, if that is known. */
  readonly target?: number;
}

/** The instruction at a word; undefined where there is none. `at` is its offset in bytes. */
export function decode(words: Uint32Array, index: number, surroundings: Surroundings): Decoded | undefined {
  const first = words[index] as number;
  const second = words[index + 1];
  if (second === undefined) return undefined;
  const context: Context = { first, second, third: words[index + 2], at: 4 * index, surroundings };
  switch ((first & isa.SCRIPT_TYPE) >>> 0) {
    case isa.SCRIPT_BLOCK_MOVE:
      return blockMove(context);
    case isa.SCRIPT_IO:
      return opcodeOf(first) >= isa.SCRIPT_FROM_SFBR ? readWrite(context) : io(context);
    case isa.SCRIPT_TRANSFER:
      return transfer(context);
    default:
      return (first & isa.SCRIPT_LOAD_STORE) !== 0 ? loadStore(context) : memoryMove(context);
  }
}

interface Context {
  readonly first: number;
  readonly second: number;
  readonly third: number | undefined;
  readonly at: number;
  readonly surroundings: Surroundings;
}

function opcodeOf(first: number): number {
  return (first >>> isa.SCRIPT_OPCODE_SHIFT) & isa.SCRIPT_OPCODE_MASK;
}

function phaseOf(first: number): string {
  return PHASES[(first >>> isa.SCRIPT_PHASE_SHIFT) & isa.SCRIPT_PHASE_MASK] ?? '';
}

function hex(value: number, digits = 8): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** An offset of 24 bits as DSA's offsets are written; undefined where the ignored bits hold something. */
function tableOffset(value: number): string | undefined {
  if (value > 0xffffff) return undefined;
  return value < 0x800000 ? hex(value, 2) : `-${hex(0x1000000 - value, 2)}`;
}

function blockMove({ first, second, third, surroundings }: Context): Decoded | undefined {
  const count = first & isa.SCRIPT_COUNT_MASK;
  const indirect = (first & isa.SCRIPT_INDIRECT) !== 0;
  const name = (first & isa.SCRIPT_MOVE) !== 0 ? 'MOVE' : 'CHMOV';
  const phase = phaseOf(first);
  if ((first & isa.SCRIPT_TABLE) !== 0) {
    const offset = tableOffset(second);
    if (count !== 0 || indirect || offset === undefined) return undefined;
    return { words: 2, text: `${name} FROM ${offset}, WHEN ${phase}` };
  }
  if (indirect) return { words: 2, text: `${name} ${count}, PTR ${hex(second)}, WHEN ${phase}` };
  if (!surroundings.longMoves) return { words: 2, text: `${name} ${count}, ${hex(second)}, WHEN ${phase}` };
  if (third === undefined) return undefined;
  return { words: 3, text: `${name}64 ${count}, ${hex(third)}:${hex(second)}, WHEN ${phase}` };
}

function memoryMove({ first, second, third }: Context): Decoded | undefined {
  const known = isa.SCRIPT_TYPE | isa.SCRIPT_MEMORY_NO_FLUSH | isa.SCRIPT_COUNT_MASK;
  if ((first & ~known) !== 0 || third === undefined) return undefined;
  const flush = (first & isa.SCRIPT_MEMORY_NO_FLUSH) !== 0 ? 'NO FLUSH ' : '';
  const count = first & isa.SCRIPT_COUNT_MASK;
  return { words: 3, text: `MOVE MEMORY ${flush}${count}, ${hex(second)}, ${hex(third)}` };
}

function loadStore({ first, second }: Context): Decoded | undefined {
  const register = (first >>> isa.SCRIPT_LS_REGISTER_SHIFT) & isa.SCRIPT_LS_REGISTER_MASK;
  const count = first & isa.SCRIPT_LS_COUNT_MASK;
  const isLoad = (first & isa.SCRIPT_LS_LOAD) !== 0;
  const noFlush = (first & isa.SCRIPT_LS_NO_FLUSH) !== 0;
  const fromDsa = (first & isa.SCRIPT_LS_DSA) !== 0;
  const reserved = first & 0x0c00fff8;
  if (reserved !== 0 || count === 0 || count > 4 - (register & 3) || (isLoad && noFlush)) return undefined;
  const offset = fromDsa ? tableOffset(second) : hex(second);
  if (offset === undefined) return undefined;
  const address = fromDsa ? `DSAREL(${offset})` : offset;
  const name = isLoad ? 'LOAD' : noFlush ? 'STORE NOFLUSH' : 'STORE';
  return { words: 2, text: `${name} ${registerName(register)}, ${count}, ${address}` };
}

function io(context: Context): Decoded | undefined {
  const { first, second } = context;
  const opcode = opcodeOf(first);
  const fields = first & 0x07ffffff;
  switch (opcode) {
    case isa.SCRIPT_SELECT:
      return select(context);
    case isa.SCRIPT_WAIT_DISCONNECT:
      return fields === 0 && second === 0 ? { words: 2, text: 'WAIT DISCONNECT' } : undefined;
    case isa.SCRIPT_WAIT_RESELECT: {
      const jump = jumpTo(context, isa.SCRIPT_IO_RELATIVE);
      if ((fields & ~isa.SCRIPT_IO_RELATIVE) !== 0 || jump === undefined) return undefined;
      return { words: 2, ...jump, text: `WAIT RESELECT ${jump.text}` };
    }
    default: {
      const names = SIGNALS.filter(([, bit]) => (fields & bit) !== 0).map(([name]) => name);
      const known = SIGNALS.reduce((mask, [, bit]) => mask | bit, 0);
      if ((fields & ~known) !== 0 || names.length === 0 || second !== 0) return undefined;
      return { words: 2, text: `${opcode === isa.SCRIPT_SET ? 'SET' : 'CLEAR'} ${names.join(' AND ')}` };
    }
  }
}

function select(context: Context): Decoded | undefined {
  const { first } = context;
  const jump = jumpTo(context, isa.SCRIPT_IO_RELATIVE);
  if (jump === undefined) return undefined;
  const atn = (first & isa.SCRIPT_IO_ATN) !== 0 ? 'ATN ' : '';
  let whom: string;
  if ((first & isa.SCRIPT_IO_TABLE) !== 0) {
    whom = `FROM ${tableOffset(first & isa.SCRIPT_COUNT_MASK) ?? ''}`;
  } else {
    if ((first & 0x00f0ffff) !== 0) return undefined;
    whom = String((first >>> isa.SCRIPT_IO_ID_SHIFT) & isa.SCRIPT_IO_ID_MASK);
  }
  return { words: 2, ...jump, text: `SELECT ${atn}${whom}, ${jump.text}` };
}

const SIGNS = ['', 'SHL', '|', '^', '&', 'SHR', '+', '+'];

function readWrite({ first, second }: Context): Decoded | undefined {
  const opcode = opcodeOf(first);
  const operator = (first >>> isa.SCRIPT_PHASE_SHIFT) & isa.SCRIPT_PHASE_MASK;
  const address =
    ((first >>> isa.SCRIPT_REGISTER_SHIFT) & isa.SCRIPT_REGISTER_MASK) | (first & isa.SCRIPT_REGISTER_HIGH);
  const usesSfbr = (first & isa.SCRIPT_USE_SFBR) !== 0;
  const data = (first >>> isa.SCRIPT_DATA_SHIFT) & 0xff;
  if (second !== 0 || (first & 0x7f) !== 0 || (usesSfbr && data !== 0)) return undefined;
  // Moves inside SFBR are written as a change of a register.
  if (opcode !== isa.SCRIPT_MODIFY && address === SFBR) return undefined;
  const register = registerName(address);
  if (operator === isa.SCRIPT_OP_LOAD) {
    if (opcode !== isa.SCRIPT_MODIFY || usesSfbr) return undefined;
    return { words: 2, text: `MOVE ${hex(data, 2)} TO ${register}` };
  }
  const from = opcode === isa.SCRIPT_FROM_SFBR ? 'SFBR' : register;
  const to = opcode === isa.SCRIPT_TO_SFBR ? 'SFBR' : register;
  const sign = SIGNS[operator] ?? '';
  const carry = operator === isa.SCRIPT_OP_ADC ? ' WITH CARRY' : '';
  if (operator === isa.SCRIPT_OP_SHL || operator === isa.SCRIPT_OP_SHR) {
    return data === 0 && !usesSfbr ? { words: 2, text: `MOVE ${from} ${sign} TO ${to}` } : undefined;
  }
  if (operator === isa.SCRIPT_OP_OR && data === 0 && !usesSfbr)
    return { words: 2, text: `MOVE ${from} TO ${to}` };
  return { words: 2, text: `MOVE ${from} ${sign} ${usesSfbr ? 'SFBR' : hex(data, 2)} TO ${to}${carry}` };
}

function transfer(context: Context): Decoded | undefined {
  const { first, second, third } = context;
  const opcode = opcodeOf(first);
  if (first === isa.SCRIPT_TRANSFER && second === 0) return { words: 2, text: 'NOP' };
  const condition = conditionOf(first);
  if (condition === undefined || opcode > isa.SCRIPT_INT) return undefined;
  const fly = (first & isa.SCRIPT_INTFLY) !== 0;
  const long = (first & isa.SCRIPT_JUMP64) !== 0;
  const relative = (first & isa.SCRIPT_RELATIVE) !== 0;
  if (fly && opcode !== isa.SCRIPT_INT) return undefined;
  if (long) {
    if (opcode !== isa.SCRIPT_JUMP || relative || third === undefined) return undefined;
    return { words: 3, text: `JUMP64 ${hex(third)}:${hex(second)}${condition}` };
  }
  if (opcode === isa.SCRIPT_RETURN) {
    return second === 0 && !relative ? { words: 2, text: `RETURN${condition}` } : undefined;
  }
  if (opcode === isa.SCRIPT_INT) {
    return relative
      ? undefined
      : { words: 2, text: `${fly ? 'INTFLY' : 'INT'} ${hex(second, 1)}${condition}` };
  }
  const jump = jumpTo(context, isa.SCRIPT_RELATIVE);
  if (jump === undefined) return undefined;
  return {
    words: 2,
    ...jump,
    text: `${opcode === isa.SCRIPT_CALL ? 'CALL' : 'JUMP'} ${jump.text}${condition}`,
  };
}

/** `, IF …` of a transfer control; empty without one, undefined where the bits make none. */
function conditionOf(first: number): string | undefined {
  const carry = (first & isa.SCRIPT_IF_CARRY) !== 0;
  const comparesData = (first & isa.SCRIPT_COMPARE_DATA) !== 0;
  const comparesPhase = (first & isa.SCRIPT_COMPARE_PHASE) !== 0;
  const waits = (first & isa.SCRIPT_WAIT_PHASE) !== 0;
  const isTrue = (first & isa.SCRIPT_IF_TRUE) !== 0;
  const phase = (first >>> isa.SCRIPT_PHASE_SHIFT) & isa.SCRIPT_PHASE_MASK;
  if ((!comparesData && (first & 0xffff) !== 0) || (!comparesPhase && phase !== 0)) return undefined;
  const start = `, ${waits ? 'WHEN' : 'IF'} ${isTrue ? '' : 'NOT '}`;
  if (carry) return comparesData || comparesPhase || waits ? undefined : `${start}CARRY`;
  if (!comparesData && !comparesPhase) return isTrue && !waits ? '' : undefined;
  const mask = (first >>> isa.SCRIPT_MASK_SHIFT) & 0xff;
  const data = `${hex(first & 0xff, 2)}${mask !== 0 ? ` AND MASK ${hex(mask, 2)}` : ''}`;
  if (!comparesPhase) return start + data;
  return start + phaseOf(first) + (comparesData ? ` ${isTrue ? 'AND' : 'OR'} ${data}` : '');
}

/** The address that an instruction may go on at: a label where one is, else a number. */
function jumpTo(
  { first, second, at, surroundings }: Context,
  relative: number,
): { text: string; target?: number } | undefined {
  if ((first & relative) === 0) {
    const name = surroundings.label(second);
    return name === undefined ? { text: hex(second) } : { text: name, target: second };
  }
  if (second > 0xffffff) return undefined;
  const distance = (second << 8) >> 8;
  const target = at + 8 + distance;
  const name = surroundings.label(target);
  if (name !== undefined) return { text: `REL(${name})`, target };
  const fromHere = distance + 8;
  return { text: `REL($ ${fromHere < 0 ? '-' : '+'} ${Math.abs(fromHere)})`, target };
}
