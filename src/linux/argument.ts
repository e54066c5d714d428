// Mistakes that C punishes with an oops: NULL where a function wants an object, because an allocation failed and nobody
// looked, or an errno, because nobody asked IS_ERR(); and numbers that C's integer types cannot hold, with which a loop
// here would never end. The types forbid the former and cannot forbid the latter.

import { KernelBug, type Page } from '../kernel/index.ts';
import type { Bio } from './bio-struct.ts';
import type { Request, RequestQueue } from './blkdev.ts';
import type { Device } from './device.ts';
import { errnoName } from './errno.ts';

/** The bug of who gave something else than `wanted`. */
export function badArgument(given: unknown, wanted: string, where: string): KernelBug {
  let what = 'something else';
  if (given === null || given === undefined) what = 'NULL';
  else if (typeof given === 'number')
    what = given < 0 ? `the errno ${errnoName(given)}` : `the number ${given}`;
  return new KernelBug('argument', `${what} is given as ${wanted}`, where);
}

/** The largest values of C's unsigned short, int, unsigned int and unsigned long; the last one is 1 less in C. */
export const USHRT_MAX = 0xffff;
export const INT_MAX = 0x7fffffff;
export const UINT_MAX = 0xffffffff;
export const ULONG_MAX = 2 ** 64;

/** @throws KernelBug `argument` unless `n` is a whole number from `least` to `most`; `what` it is: 'the size' */
export function mustCount(
  n: number,
  what: string,
  where: string,
  most = Number.MAX_SAFE_INTEGER,
  least = 0,
): void {
  if (n >>> 0 === n && n >= least && n <= most) return; // nearly always, and fast
  if (Number.isInteger(n) && n >= least && n <= most) return;
  throw new KernelBug('argument', `${String(n)} is given as ${what}, of ${least} to ${most}`, where);
}

/** As mustCount(), for what may be negative, too. */
export function mustWhole(n: number, what: string, where: string): void {
  if ((n | 0) === n || Number.isSafeInteger(n)) return;
  throw new KernelBug('argument', `${String(n)} is given as ${what}, which is a whole number`, where);
}

/** @throws KernelBug `argument` */
export function mustBio(bio: Bio, where: string): void {
  if ((bio as Bio | null)?.bi_iter === undefined) throw badArgument(bio, 'a bio', where);
}

/** @throws KernelBug `argument` */
export function mustRequest(rq: Request, where: string): void {
  if ((rq as Request | null)?.cmd_type === undefined) throw badArgument(rq, 'a request', where);
}

/** @throws KernelBug `argument` */
export function mustQueue(q: RequestQueue, where: string): void {
  if ((q as RequestQueue | null)?.rl === undefined) throw badArgument(q, 'a queue', where);
}

/** @throws KernelBug `argument` */
export function mustPage(page: Page, where: string): void {
  if ((page as Page | null)?.pfn === undefined) throw badArgument(page, 'a page', where);
}

/** @throws KernelBug `argument` */
export function mustDevice(dev: Device, where: string): void {
  // Not by dma_mask: a number that needs a double would be put into a new object, to be compared.
  if ((dev as Device | null)?.controller === undefined) throw badArgument(dev, 'a device', where);
}
