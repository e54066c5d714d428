// Mistakes that C punishes with an oops: NULL where a function wants an object, because an allocation failed and nobody
// looked, or an errno, because nobody asked IS_ERR(). The types forbid both, and a caller in JavaScript has none.

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
