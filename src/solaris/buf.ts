// Buffer headers and the end of a transfer (bioinit(9F), biodone(9F), bp_mapin(9F) …).

import type { Solaris } from './kernel.ts';

export function createBuf(_k: Solaris) {
  return {};
}
