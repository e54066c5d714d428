// What media tell the host beside what the guest hears (assembly/media/notice.ts).

import { AT_NOTICE_COUNT, AT_NOTICES, NOTICE_STRIDE } from '../../assembly/bus/layout.ts';
import {
  MEDIA_DISCARD,
  MEDIA_FLUSH,
  MEDIA_NO_SPACE,
  MEDIA_READ,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
  NOTICE_TRAY,
} from '../../assembly/media/codes.ts';
import type { Disk } from './disk.ts';
import type { MediaOperation } from './faults.ts';

/** A tray was moved, by the guest or the host; or a request was parked for an error. */
export type MediaNotice =
  | { readonly kind: 'tray'; readonly disk: Disk; readonly open: boolean }
  | {
      readonly kind: 'parked';
      readonly disk: Disk;
      readonly operation: MediaOperation;
      readonly reason: 'failed' | 'no-space';
    };

const OPERATIONS: Readonly<Record<number, MediaOperation>> = {
  [MEDIA_READ]: 'read',
  [MEDIA_WRITE]: 'write',
  [MEDIA_FLUSH]: 'flush',
  [MEDIA_DISCARD]: 'discard',
  [MEDIA_ZERO]: 'zero',
  [MEDIA_VERIFY]: 'verify',
};

/** Empties the list in the module's memory. */
export function takeNotices(u32: Uint32Array, disks: readonly Disk[]): MediaNotice[] {
  const notices: MediaNotice[] = [];
  const count = u32[AT_NOTICE_COUNT >>> 2] as number;
  for (let i = 0; i < count; i++) {
    const at = (AT_NOTICES + i * NOTICE_STRIDE) >>> 2;
    const disk = disks[(u32[at + 1] as number) - 1];
    if (disk === undefined) continue;
    const first = u32[at + 2] as number;
    if (u32[at] === NOTICE_TRAY) notices.push({ kind: 'tray', disk, open: first !== 0 });
    else {
      const reason = u32[at + 3] === MEDIA_NO_SPACE ? 'no-space' : 'failed';
      notices.push({ kind: 'parked', disk, operation: OPERATIONS[first] ?? 'read', reason });
    }
  }
  u32[AT_NOTICE_COUNT >>> 2] = 0;
  return notices;
}
