// What scenarios of tests move: numbers that differ from sector to sector.

import { sha256 } from '../../src/cli/input.ts';
import type { ScenarioInput } from '../../src/scenario/run.ts';

/** `bytes` bytes, as a scenario wants its input; `content` is what they are. */
export function numbers(bytes: number): ScenarioInput & { readonly content: Uint8Array } {
  const content = Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >>> 8) * 5) & 0xff);
  const hash = sha256();
  hash.update(content);
  return {
    path: 'numbers',
    bytes,
    sha256: hash.digest(),
    read: (offset, into) => into.set(content.subarray(offset, offset + into.length)),
    content,
  };
}
