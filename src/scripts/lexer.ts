// SCRIPTS source text to tokens. A statement ends with its line, unless that ends with a comma or a backslash.

import type { Problems } from './problems.ts';

export type TokenKind = 'name' | 'number' | 'mark' | 'text' | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** As written; of a `text` what is between the parentheses of PASS. */
  readonly text: string;
  /** Of a number. */
  readonly value: number;
  readonly line: number;
  readonly column: number;
}

const TOKEN =
  /([ \t\r\f]+|;.*)|(0x[\da-f]+\b|0b[01]+\b|\d[\da-f]*h\b|\d+)|([a-z_][\w.]*)|(<<|>>|[-+*/&|^~(),:=$])|(.)/gi;

/** The tokens of each statement; empty lines make none. */
export function statements(source: string, problems: Problems): Token[][] {
  const found: Token[][] = [];
  let open: Token[] = [];
  for (const [index, text] of source.split(/\r\n|\n|\r/).entries()) {
    const body = text.replace(/;.*$/, '').trimEnd();
    const continues = body.endsWith('\\');
    const line = continues ? body.slice(0, -1) : text;
    open.push(...tokensOf(line, index + 1, problems));
    if (continues || open.at(-1)?.text === ',') continue;
    if (open.length > 0) found.push(open);
    open = [];
  }
  if (open.length > 0) found.push(open);
  return found;
}

function tokensOf(line: string, number: number, problems: Problems): Token[] {
  const pass = /^(\s*)(pass)\s*\((.*)\)\s*(;.*)?$/i.exec(line);
  if (pass !== null) {
    const column = (pass[1] ?? '').length + 1;
    const at = { value: 0, line: number, column };
    return [
      { kind: 'name', text: pass[2] ?? '', ...at },
      { kind: 'text', text: pass[3] ?? '', ...at },
    ];
  }
  const tokens: Token[] = [];
  for (const match of line.matchAll(TOKEN)) {
    const [text, space, digits, name, mark] = match;
    if (space !== undefined) continue;
    const at = { text, line: number, column: match.index + 1 };
    if (digits !== undefined) tokens.push({ kind: 'number', value: numberOf(digits, at, problems), ...at });
    else if (name !== undefined) tokens.push({ kind: 'name', value: 0, ...at });
    else if (mark !== undefined) tokens.push({ kind: 'mark', value: 0, ...at });
    else problems.add(at, `"${text}" has no meaning here; a comment begins with ";"`);
  }
  return tokens;
}

function numberOf(digits: string, at: { line: number; column: number }, problems: Problems): number {
  const value = /h$/i.test(digits) ? Number.parseInt(digits, 16) : Number(digits);
  if (value <= 0xffffffff) return value;
  problems.add(at, `${digits} has more than 32 bits`);
  return 0;
}
