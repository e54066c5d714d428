// Images that the real mke2fs makes, and what their files hold.

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PAGE_SIZE } from '../../src/kernel/index.ts';

/** mke2fs lives where not every user looks for commands. */
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };

/** Why there can be no images; null: there can. */
export const whyNoImages: string | null = (() => {
  try {
    execFileSync('mke2fs', ['-V'], { env, stdio: 'ignore' });
    return null;
  } catch {
    return 'mke2fs (package e2fsprogs) is not installed';
  }
})();

const ZEROS = new Uint8Array(PAGE_SIZE);

/** A file: a length, and the pieces of it that are written; the rest is holes. */
export class Shape {
  readonly size: number;
  readonly pieces: readonly { readonly at: number; readonly bytes: Uint8Array }[];

  constructor(size: number, pieces: readonly (readonly [at: number, length: number])[]) {
    this.size = size;
    this.pieces = pieces.map(([at, length]) => ({ at, bytes: noise(at + length, length) }));
  }

  /** A page of it, zeros where nothing was written. */
  page(index: number): Uint8Array {
    let page = ZEROS;
    const from = index * PAGE_SIZE;
    for (const { at, bytes } of this.pieces) {
      const start = Math.max(at, from);
      const end = Math.min(at + bytes.length, from + PAGE_SIZE);
      if (start >= end) continue;
      if (page === ZEROS) page = new Uint8Array(PAGE_SIZE);
      page.set(bytes.subarray(start - at, end - at), start - from);
    }
    return page;
  }
}

function noise(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (state >>> 24) | 1; // never 0: a block of zeros could be a hole
  }
  return bytes;
}

/** A file without holes. */
export function solid(size: number): Shape {
  return new Shape(size, [[0, size]]);
}

/** An ext2 image of these files, by path. */
export function makeImage(
  files: Readonly<Record<string, Shape>>,
  blocksize: number,
  kib: number,
  options: readonly string[] = [],
): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-ext2-'));
  try {
    const tree = join(folder, 'tree');
    mkdirSync(tree);
    for (const [path, { size, pieces }] of Object.entries(files)) {
      const target = join(tree, path);
      mkdirSync(dirname(target), { recursive: true });
      const fd = openSync(target, 'w');
      ftruncateSync(fd, size);
      for (const { at, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, at);
      closeSync(fd);
    }
    const image = join(folder, 'image');
    const how = ['-q', '-F', '-t', 'ext2', '-b', `${blocksize}`, ...options, '-d', tree, image, `${kib}k`];
    execFileSync('mke2fs', how, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    return new Uint8Array(readFileSync(image));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
