// The tokens of one statement, read from left to right.

import type { Token } from './lexer.ts';
import { nearest, type Place, StatementError } from './problems.ts';

export class Cursor {
  readonly #tokens: readonly Token[];
  readonly #end: Token;
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
    const last = tokens.at(-1);
    const column = (last?.column ?? 1) + (last?.text.length ?? 0);
    this.#end = { kind: 'end', text: '', value: 0, line: last?.line ?? 1, column };
  }

  get token(): Token {
    return this.#tokens[this.#at] ?? this.#end;
  }

  /** The token after this one. */
  get following(): Token {
    return this.#tokens[this.#at + 1] ?? this.#end;
  }

  next(): Token {
    const { token } = this;
    this.#at++;
    return token;
  }

  /** Whether this token is that word or mark, in any case. */
  is(text: string): boolean {
    const { token } = this;
    return (token.kind === 'name' || token.kind === 'mark') && token.text.toUpperCase() === text;
  }

  /** Takes the token if it is that word or mark. */
  accept(text: string): boolean {
    if (!this.is(text)) return false;
    this.#at++;
    return true;
  }

  /** Takes the token, which must be that; `before` says what it belongs to. */
  expect(text: string, before: string): void {
    if (this.accept(text)) return;
    const word = this.token.kind === 'name' ? nearest(this.token.text, [text]) : '';
    throw this.error(`${this.found()}; ${before} needs "${text}" here${word === '' ? '' : word}`);
  }

  /** Takes the token, which must be one of the words, and returns it in capitals. */
  expectOneOf(words: readonly string[], what: string): string {
    const word = this.token.text.toUpperCase();
    if (this.token.kind === 'name' && words.includes(word)) {
      this.#at++;
      return word;
    }
    const near = this.token.kind === 'name' ? nearest(this.token.text, words) : '';
    throw this.error(
      `${this.found()} is no ${what}${near === '' ? `; there are ${words.join(', ')}` : near}`,
    );
  }

  /** A name that a symbol can have. */
  expectName(what: string): Token {
    if (this.token.kind !== 'name') throw this.error(`${this.found()} is no name for ${what}`);
    return this.next();
  }

  expectEnd(): void {
    if (this.token.kind !== 'end')
      throw this.error(`${this.found()} is too much; the statement ends before it`);
  }

  found(): string {
    return this.token.kind === 'end' ? 'the end of the line' : `"${this.token.text}"`;
  }

  error(message: string, place: Place = this.token): StatementError {
    return new StatementError(place, message);
  }
}
