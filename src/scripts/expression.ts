// Expressions: numbers, symbols, the operators of C, parentheses, and $ for the address of the instruction.

import type { Cursor } from './cursor.ts';
import { nearest, type Place, StatementError } from './problems.ts';
import { REGISTER_NAMES } from './registers.ts';

/** What a symbol stands for. */
export type SymbolKind = 'absolute' | 'label' | 'relative' | 'external';

export interface SymbolEntry extends Place {
  readonly kind: SymbolKind;
  /** Offset in the program for a label, 0 for an external. */
  value: number;
}

/** A value of 32 bits that counts from `base`: '' for nothing, `$` for the program, or a symbol of the linker's. */
export interface Value {
  readonly number: number;
  readonly base: string;
}

export const PROGRAM = '$';

export type Expression =
  | { readonly kind: 'number'; readonly value: number }
  | ({ readonly kind: 'here' } & Place)
  | ({ readonly kind: 'name'; readonly name: string } & Place)
  | ({ readonly kind: 'unary'; readonly operator: string; readonly of: Expression } & Place)
  | ({
      readonly kind: 'binary';
      readonly operator: string;
      readonly left: Expression;
      readonly right: Expression;
    } & Place);

/** The operators that bind least first. */
const LEVELS: readonly (readonly string[])[] = [['|'], ['^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/']];

export function parseExpression(cursor: Cursor, level = 0): Expression {
  const operators = LEVELS[level];
  if (operators === undefined) return parseUnary(cursor);
  let left = parseExpression(cursor, level + 1);
  while (cursor.token.kind === 'mark' && operators.includes(cursor.token.text)) {
    const { text: operator, line, column } = cursor.next();
    left = { kind: 'binary', operator, left, right: parseExpression(cursor, level + 1), line, column };
  }
  return left;
}

function parseUnary(cursor: Cursor): Expression {
  const { token } = cursor;
  const { line, column } = token;
  if (token.kind === 'number') return { kind: 'number', value: cursor.next().value };
  if (token.kind === 'name') return { kind: 'name', name: cursor.next().text, line, column };
  if (cursor.accept('$')) return { kind: 'here', line, column };
  if (cursor.accept('(')) {
    const inner = parseExpression(cursor);
    cursor.expect(')', 'the expression');
    return inner;
  }
  if (cursor.is('-') || cursor.is('~')) {
    const operator = cursor.next().text;
    return { kind: 'unary', operator, of: parseUnary(cursor), line, column };
  }
  throw cursor.error(`${cursor.found()}, where a number, a symbol or "(" was expected`);
}

export class Symbols {
  readonly entries = new Map<string, SymbolEntry>();
  /** Names that were asked for and that nothing declares: each is reported once. */
  readonly #unknown = new Set<string>();

  /** Declares a symbol. Throws StatementError where there is one of that name. */
  declare(name: string, kind: SymbolKind, value: number, { line, column }: Place): void {
    const before = this.entries.get(name);
    if (before !== undefined)
      throw new StatementError({ line, column }, `"${name}" is declared in line ${before.line} already`);
    this.entries.set(name, { kind, value, line, column });
  }

  /** Evaluates; `used` is told of each symbol. Throws StatementError. */
  evaluate(expression: Expression, here: number, used?: (name: string, entry: SymbolEntry) => void): Value {
    switch (expression.kind) {
      case 'number':
        return { number: expression.value, base: '' };
      case 'here':
        return { number: here, base: PROGRAM };
      case 'name':
        return this.#valueOf(expression, used);
      case 'unary': {
        const { number, base } = this.evaluate(expression.of, here, used);
        if (base !== '')
          throw new StatementError(expression, `"${expression.operator}" takes a number, not an address`);
        return { number: expression.operator === '-' ? -number : ~number >>> 0, base };
      }
      case 'binary': {
        const left = this.evaluate(expression.left, here, used);
        const right = this.evaluate(expression.right, here, used);
        return combine(expression, expression.operator, left, right);
      }
    }
  }

  #valueOf(
    expression: { readonly name: string } & Place,
    used?: (name: string, entry: SymbolEntry) => void,
  ): Value {
    const { name } = expression;
    const entry = this.entries.get(name);
    if (entry === undefined) {
      if (this.#unknown.has(name)) throw new StatementError(expression, '');
      this.#unknown.add(name);
      throw new StatementError(
        expression,
        `nothing declares "${name}"${nearest(name, [...this.entries.keys()]) || nearest(name, REGISTER_NAMES)}`,
      );
    }
    used?.(name, entry);
    if (entry.kind === 'absolute') return { number: entry.value, base: '' };
    return { number: entry.value, base: entry.kind === 'label' ? PROGRAM : name };
  }
}

/** Addresses may be moved by a number, and be subtracted from each other where they count from the same. */
function combine(place: Place, operator: string, left: Value, right: Value): Value {
  if (operator === '+' && (left.base === '' || right.base === ''))
    return { number: left.number + right.number, base: left.base === '' ? right.base : left.base };
  if (operator === '-' && (right.base === '' || right.base === left.base))
    return { number: left.number - right.number, base: right.base === '' ? left.base : '' };
  if (left.base !== '' || right.base !== '')
    throw new StatementError(place, `"${operator}" takes numbers; an address can only be moved with + and -`);
  return { number: calculate(place, operator, left.number, right.number), base: '' };
}

function calculate(place: Place, operator: string, left: number, right: number): number {
  switch (operator) {
    case '|':
      return (left | right) >>> 0;
    case '^':
      return (left ^ right) >>> 0;
    case '&':
      return (left & right) >>> 0;
    case '<<':
      return right > 31 ? 0 : (left << right) >>> 0;
    case '>>':
      return right > 31 ? 0 : left >>> right;
    case '*':
      return left * right;
    default:
      if (right === 0) throw new StatementError(place, 'division by zero');
      return Math.trunc(left / right);
  }
}
