// The bytes of a snapshot: four dwords (magic, version, check), the lengths of its sections, and the sections. The
// first is JSON and names the others by their numbers; those are runs of plain bytes.

import { PAGE_BYTES } from '../../assembly/bus/layout.ts';
import type { GuardState } from '../guard/index.ts';
import type { ContentState } from '../media/index.ts';
import type { ArenaCopy, Run } from './arena.ts';
import { SnapshotError } from './errors.ts';
import type { SavedMedia, SavedRequest } from './host-media.ts';
import type { Layout } from './shape.ts';
import type { SnapshotParts } from './snapshot.ts';

/** "BKSN" in a file. */
const MAGIC = 0x4e534b42;
/** Raised when the meaning of the bytes changes; what they hold of the module has LAYOUT_VERSION. */
const VERSION = 1;
/** Magic, version, two dwords of check, number of sections. */
const HEAD_WORDS = 5;
const CHECK_WORD = 2;
const SUM_FROM = 4;

/** A section's number. */
type Section = number;

interface Meta {
  readonly layout: Layout;
  readonly shape: readonly string[];
  readonly top: number;
  readonly pageCount: number;
  /** Stretches of pages that are not zeroes: the first one, and their bytes. */
  readonly pages: readonly (readonly [first: number, bytes: Section])[];
  readonly fixed: readonly (readonly [at: number, bytes: Section])[];
  readonly tables: readonly (readonly [at: number, bytes: Section])[];
  readonly configAddress: number;
  readonly places: SnapshotParts['host']['places'];
  readonly guard: GuardState;
  readonly requests: readonly SavedRequestMeta[];
  readonly contents: readonly (readonly [disk: number, bytes: Section])[];
  readonly failures: readonly string[];
}

interface SavedRequestMeta extends Omit<SavedRequest, 'content' | 'parts'> {
  readonly content: Section | null;
  readonly parts: readonly (readonly [offset: number, bytes: Section])[];
}

export function encodeSnapshot({ layout, shape, arena, host }: SnapshotParts): Uint8Array {
  const sections: Uint8Array[] = [new Uint8Array(0)];
  const add = (bytes: Uint8Array): Section => sections.push(bytes) - 1;
  const addRun = ({ at, bytes }: Run): readonly [number, Section] => [at, add(bytes)];
  const { configAddress, places, guard, media } = host;
  const meta: Meta = {
    layout,
    shape,
    top: arena.top,
    pageCount: arena.pages.length,
    pages: stretchesOf(arena.pages).map(([first, bytes]) => [first, add(bytes)]),
    fixed: arena.fixed.map(addRun),
    tables: arena.tables.map(addRun),
    configAddress,
    places,
    guard,
    requests: media.requests.map(({ content, parts, ...rest }) => ({
      ...rest,
      content: content === null ? null : add(content),
      parts: parts.map(({ offset, data }) => [offset, add(data ?? new Uint8Array(0))]),
    })),
    contents: media.contents.map(({ disk, state }) => [disk, add(state.toBytes())]),
    failures: media.failures,
  };
  sections[0] = new TextEncoder().encode(JSON.stringify(meta));
  return pack(sections);
}

/** Pages that follow each other, in one piece. */
function stretchesOf(pages: ArenaCopy['pages']): [first: number, bytes: Uint8Array][] {
  const found: [number, Uint8Array][] = [];
  for (let first = 0; first < pages.length; first++) {
    if (pages[first] === null) continue;
    let end = first;
    while (end < pages.length && pages[end] !== null) end++;
    const bytes = new Uint8Array((end - first) * PAGE_BYTES);
    for (let i = first; i < end; i++) bytes.set(pages[i] as Uint8Array, (i - first) * PAGE_BYTES);
    found.push([first, bytes]);
    first = end;
  }
  return found;
}

function pack(sections: readonly Uint8Array[]): Uint8Array {
  const head = HEAD_WORDS + sections.length;
  const words = sections.reduce((sum, { length }) => sum + Math.ceil(length / 4), head);
  const bytes = new Uint8Array(words * 4);
  const view = new Uint32Array(bytes.buffer);
  view[0] = MAGIC;
  view[1] = VERSION;
  view[SUM_FROM] = sections.length;
  let at = head * 4;
  for (const [i, section] of sections.entries()) {
    view[HEAD_WORDS + i] = section.length;
    bytes.set(section, at);
    at += Math.ceil(section.length / 4) * 4;
  }
  view.set(checkOf(view), CHECK_WORD);
  return bytes;
}

export function decodeSnapshot(bytes: Uint8Array): SnapshotParts {
  const sections = unpack(bytes);
  const section = (i: Section): Uint8Array => {
    const found = sections[i];
    if (found === undefined) throw damaged('a section is missing');
    return found;
  };
  const meta = JSON.parse(new TextDecoder().decode(section(0))) as Meta; // what encodeSnapshot() wrote, to the last bit
  const run = ([at, i]: readonly [number, Section]): Run => ({ at, bytes: section(i) });
  const pages = new Array<Uint8Array | null>(meta.pageCount).fill(null);
  for (const [first, i] of meta.pages) {
    const all = section(i);
    for (let at = 0; at < all.length; at += PAGE_BYTES) {
      pages[first + at / PAGE_BYTES] = all.subarray(at, at + PAGE_BYTES);
    }
  }
  const media: SavedMedia = {
    requests: meta.requests.map(({ content, parts, ...rest }) => ({
      ...rest,
      content: content === null ? null : section(content),
      parts: parts.map(([offset, i]) => ({ offset, bytes: section(i).length, data: section(i) })),
    })),
    contents: meta.contents.map(([disk, i]) => ({ disk, state: new PackedState(section(i)) })),
    failures: meta.failures,
  };
  const { layout, shape, top, configAddress, places, guard } = meta;
  const arena: ArenaCopy = { top, pages, fixed: meta.fixed.map(run), tables: meta.tables.map(run) };
  return { layout, shape, arena, host: { configAddress, places, guard, media } };
}

/** The content of a medium that has to read it itself. */
class PackedState implements ContentState {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  toBytes(): Uint8Array {
    return this.#bytes;
  }
}

/** The sections, in memory of their own: whoever owns `given` may change it afterwards. */
function unpack(given: Uint8Array): Uint8Array[] {
  if (given.length < HEAD_WORDS * 4 || given.length % 4 !== 0) throw damaged('it is too short');
  // A copy, of whatever is given: slice() of a Buffer is none.
  const bytes = new Uint8Array(given);
  const view = new Uint32Array(bytes.buffer);
  if (view[0] !== MAGIC) throw new SnapshotError('these bytes are not a snapshot');
  if (view[1] !== VERSION) {
    throw new SnapshotError(`the snapshot is of format ${view[1]}; this build reads format ${VERSION}`);
  }
  const count = view[SUM_FROM] as number;
  let at = (HEAD_WORDS + count) * 4;
  const sections: Uint8Array[] = [];
  for (let i = 0; i < count && at <= bytes.length; i++) {
    const length = view[HEAD_WORDS + i] ?? Number.POSITIVE_INFINITY;
    sections.push(bytes.subarray(at, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  if (at !== bytes.length) throw damaged(`it has ${bytes.length} bytes`);
  const [first, second] = checkOf(view);
  if (view[CHECK_WORD] !== first || view[CHECK_WORD + 1] !== second) throw damaged('its bytes have changed');
  return sections;
}

/** Two sums of every dword behind them, which a change of any one dword changes. */
function checkOf(view: Uint32Array): [number, number] {
  let first = 0x811c9dc5 ^ (view[1] as number);
  let second = view.length;
  for (let i = SUM_FROM; i < view.length; i++) {
    const word = view[i] as number;
    first = Math.imul(first ^ word, 0x01000193);
    second = (Math.imul(second, 0x9e3779b1) + word) | 0;
  }
  return [first >>> 0, second >>> 0];
}

function damaged(why: string): SnapshotError {
  return new SnapshotError(`the snapshot is damaged: ${why}`);
}
