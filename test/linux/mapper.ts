// What tests of mapping share: a queue whose device copies what the scatter list names, some time later.

import { type AddressSpace, PAGE_SIZE, type Page, type Sleeps, Timer } from '../../src/kernel/index.ts';
import {
  BIO_USER_MAPPED,
  type Bio,
  bio_flagged,
  bootLinux,
  EINVAL,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  type LinuxApi,
  type LinuxOptions,
  READ,
  REQ_COPY_USER,
  type Request,
  type RequestQueue,
  type RqMapData,
  type Scatterlist,
  WRITE,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert } from '../run/suite.ts';
import { inProcess, must } from './help.ts';
import { asUser, BASE, map, pageAt, pattern, poke } from './user.ts';

/** Virtual ns that the device takes. */
const DEVICE_NS = 500;

export interface Rig {
  readonly linux: LinuxApi;
  readonly q: RequestQueue;
  /** What the device reads from, or what was written to it. */
  readonly device: Uint8Array;
  /** How requests end: the errno, and the bytes that the device leaves out at the end. */
  readonly outcome: { error: number; residual: number };
  /** Segments of the last request: physical address and length. */
  readonly segments: (readonly [address: number, bytes: number])[];
}

/** A small machine with a queue. Its device wants addresses and lengths that are multiples of 512. */
export async function rig(options: LinuxOptions = {}): Promise<Rig> {
  const linux = bootLinux(await createMachine({ ram: 'small', guard: false }), options);
  const device = new Uint8Array(512 * 1024);
  for (let i = 0; i < device.length; i++) device[i] = (i * 11 + (i >> 9) * 5 + 3) & 0xff;
  const outcome = { error: 0, residual: 0 };
  const { scheduler } = linux.kernel;
  const q = linux.blk_init_queue((queue) => {
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue)) {
      const request = rq;
      scheduler.armTimer(new Timer('device', () => end(it, request)), scheduler.now() + DEVICE_NS);
    }
  });
  inProcess(linux, () => linux.init_emergency_isa_pool());
  const it: Rig = { linux, q, device, outcome, segments: [] };
  return it;
}

/** The device works: moves the bytes that the scatter list names, then ends the request in interrupt context. */
function end({ linux, q, device, outcome, segments }: Rig, rq: Request): void {
  const { memory } = linux.kernel;
  const table = linux.sg_alloc_table(1024);
  segments.length = 0;
  const count = rq.bio === null || rq.__data_len === 0 ? 0 : linux.blk_rq_map_sg(q, rq, table.sgl);
  assert.ok(count <= q.limits.max_segments, `${count} segments`);
  let left = rq.__data_len - outcome.residual;
  let at = 0;
  let sg: Scatterlist | null = count === 0 ? null : table.sgl;
  for (; sg !== null; sg = linux.sg_next(sg)) {
    const address = linux.sg_phys(sg);
    segments.push([address, sg.length]);
    const bytes = Math.max(0, Math.min(left, sg.length));
    if (rq.op === READ) memory.writeBytes(address, device, at, bytes);
    else memory.readInto(address, device, at, bytes);
    at += bytes;
    left -= bytes;
  }
  rq.errors = outcome.error;
  linux.blk_end_request_all(rq, outcome.error);
}

/** Runs a body with a passthrough request, which is put afterwards. */
export function* withRequest<T>(
  { linux, q }: Rig,
  direction: number,
  body: (rq: Request) => Sleeps<T>,
): Sleeps<T> {
  const rq = yield* linux.blk_get_request(q, direction, GFP_KERNEL);
  if (IS_ERR(rq)) throw new Error('no request');
  linux.blk_rq_set_block_pc(rq);
  const result = yield* body(rq);
  rq.bio = rq.biotail = null;
  linux.blk_put_request(rq);
  return result;
}

export function iterOver(direction: number, iov: readonly Iovec[], count?: number): IovIter {
  const iter = new IovIter();
  const bytes = iov.reduce((sum, { iov_len }) => sum + iov_len, 0);
  iov_iter_init(iter, direction, iov, iov.length, count ?? bytes);
  return iter;
}

export function iovs(...pieces: (readonly [base: number, len: number])[]): Iovec[] {
  return pieces.map(([iov_base, iov_len]) => ({ iov_base, iov_len }));
}

/** blk_rq_map_user_iov() of pieces. */
export function* mapPieces(
  { linux, q }: Rig,
  rq: Request,
  direction: number,
  iov: readonly Iovec[],
  map_data: RqMapData | null = null,
): Sleeps<number> {
  return yield* linux.blk_rq_map_user_iov(q, rq, map_data, iterOver(direction, iov), GFP_KERNEL);
}

/** Maps, executes, unmaps: the bio, which is gone then. */
export function* transfer(
  it: Rig,
  direction: number,
  iov: readonly Iovec[],
  map_data: RqMapData | null = null,
): Sleeps<number> {
  return yield* withRequest(it, direction, function* (rq) {
    assert.is(yield* mapPieces(it, rq, direction, iov, map_data), 0);
    return yield* finish(it, rq);
  });
}

/** Executes a mapped request and unmaps it; the result of unmapping. */
export function* finish({ linux, q }: Rig, rq: Request): Sleeps<number> {
  const { bio } = rq;
  yield* linux.blk_execute_rq(q, null, rq, false);
  return yield* linux.blk_rq_unmap_user(bio);
}

/** Unmaps what was never executed, as if the device had ended it. */
export function* giveUp({ linux }: Rig, rq: Request): Sleeps<number> {
  const { bio } = rq;
  for (let each = bio; each !== null; each = each.bi_next) linux.bio_endio(each);
  return yield* linux.blk_rq_unmap_user(bio);
}

export function vecsOf(bio: Bio | null): (readonly [page: Page | null, offset: number, length: number])[] {
  return (bio?.bi_io_vec ?? [])
    .slice(0, bio?.bi_vcnt ?? 0)
    .map(({ bv_page, bv_offset, bv_len }) => [bv_page, bv_offset, bv_len]);
}

/** References to the pages of a process in a range. */
export function countsAt(mm: AddressSpace, address: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => pageAt(mm, address + i * 4096).count);
}

export const HIGH = 2 ** 32;
export const ISA = 2 ** 24 - 1;
/** Pages of the process where a device of 24 lines does not reach. */
export const FAR = { userPages: { from: HIGH } };
export const SCATTERED = { placement: 'scatter', seed: 5 } as const;

/** A process with so many pages at BASE, filled. */
export function withPages<T>(
  it: Rig,
  pages: number,
  body: (mm: AddressSpace, bytes: Uint8Array) => Sleeps<T>,
): T {
  return asUser(it.linux, function* (mm) {
    const bytes = pattern(pages * PAGE_SIZE, 9);
    yield* map(mm, BASE, pages);
    yield* poke(it.linux, mm, BASE, bytes);
    const result = yield* body(mm, bytes);
    return result;
  });
}

export function isaLimit({ linux, q }: Rig): void {
  inProcess(linux, () => linux.blk_queue_bounce_limit(q, ISA));
}

export function mapData(pages: readonly Page[], more: Partial<RqMapData> = {}): RqMapData {
  return {
    pages,
    page_order: 0,
    nr_entries: pages.length,
    offset: 0,
    null_mapped: false,
    from_user: false,
    ...more,
  };
}

export function* kernelPages(it: Rig, count: number, order = 0): Sleeps<Page[]> {
  const pages: Page[] = [];
  for (let i = 0; i < count; i++) {
    const page = must(yield* it.linux.alloc_pages(GFP_KERNEL, order));
    it.linux.kernel.memory.fill(page.phys, 0xee, PAGE_SIZE << order);
    pages.push(page);
  }
  return pages;
}

export function putPages(it: Rig, pages: readonly Page[]): void {
  for (const page of pages) it.linux.put_page(page);
}

/** Maps pieces and says how it failed: the real errno, with rq.bio null. */
export function* mapFails(
  it: Rig,
  direction: number,
  iov: ReturnType<typeof iovs>,
  data: RqMapData | null = null,
): Sleeps<number> {
  return yield* withRequest(it, direction, function* (rq) {
    assert.is(yield* mapPieces(it, rq, direction, iov, data), -EINVAL);
    assert.equal([rq.bio, rq.biotail, rq.__data_len], [null, null, 0]);
    return rq.map_error;
  });
}

export function isCopy(rq: Request): boolean {
  return rq.bio !== null && !bio_flagged(rq.bio, BIO_USER_MAPPED);
}

/** Whether a mapping of these pieces copies; it is given up afterwards. */
export function* copies(it: Rig, iov: ReturnType<typeof iovs>, direction = WRITE): Sleeps<boolean> {
  return yield* withRequest(it, direction, function* (rq) {
    assert.is(yield* mapPieces(it, rq, direction, iov), 0);
    const copy = isCopy(rq);
    assert.is((rq.cmd_flags & REQ_COPY_USER) !== 0, copy);
    yield* giveUp(it, rq);
    return copy;
  });
}
