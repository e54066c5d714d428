// The disassembler: words to SCRIPTS source that becomes the same words again.

import { type Decoded, decode, type Surroundings } from './decode.ts';

export interface DisassembleOptions {
  /** Names for offsets in bytes; places that are jumped to and have none are called L_0010 and so on. */
  readonly labels?: Readonly<Record<string, number>>;
  /** Block moves have 64-bit addresses, as with EN64DBMV set; default false. */
  readonly longMoves?: boolean;
}

interface Item {
  readonly at: number;
  readonly decoded: Decoded;
}

/** Source text of a program. What is no instruction comes as DATA. */
export function disassemble(words: Uint32Array, options: DisassembleOptions = {}): string {
  const longMoves = options.longMoves ?? false;
  const begins = new Set(itemsOf(words, { longMoves, label: () => undefined }).map(({ at }) => at));
  const names = new Map<number, string[]>();
  for (const [name, at] of Object.entries(options.labels ?? {}))
    names.set(at, [...(names.get(at) ?? []), name]);
  const wanted = new Set<number>();
  const labelName = (offset: number): string => {
    let name = `L_${offset.toString(16).padStart(4, '0')}`;
    while (options.labels !== undefined && name in options.labels) name += '_';
    return name;
  };
  const label = (offset: number): string | undefined => {
    if (!begins.has(offset) && offset !== 4 * words.length) return undefined;
    wanted.add(offset);
    return names.get(offset)?.[0] ?? labelName(offset);
  };
  const items = itemsOf(words, { longMoves, label });
  const lines: string[] = [];
  const addLabels = (at: number): void => {
    const own = names.get(at) ?? (wanted.has(at) ? [labelName(at)] : []);
    for (const name of own) lines.push(`${name}:`);
  };
  for (const { at, decoded } of items) {
    addLabels(at);
    lines.push(`    ${decoded.text}`);
  }
  addLabels(4 * words.length);
  return `${lines.join('\n')}\n`;
}

function itemsOf(words: Uint32Array, surroundings: Surroundings): Item[] {
  const items: Item[] = [];
  for (let index = 0; index < words.length; ) {
    const decoded = decode(words, index, surroundings) ?? data(words, index);
    items.push({ at: 4 * index, decoded });
    index += decoded.words;
  }
  return items;
}

/** The chip fetches two words before it sees that they are no instruction. */
function data(words: Uint32Array, index: number): Decoded {
  const taken = [...words.subarray(index, index + 2)];
  const text = taken.map((word) => `0x${word.toString(16).padStart(8, '0')}`).join(', ');
  return { words: taken.length, text: `DATA ${text}` };
}
