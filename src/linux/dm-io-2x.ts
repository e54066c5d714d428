// dm-io as 2.6.20 has it, and Documentation/device-mapper/dm-io tells it: six calls, and one reserve for all who
// announced themselves. Thin adapters over dm-io.ts; waiting is uninterruptible, and regions are cut as they must be.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { type BioVec, WRITE } from './bio-struct.ts';
import {
  DM_IO_BVEC,
  DM_IO_PAGE_LIST,
  DM_IO_VMA,
  type DmIoClient,
  type DmIoMemory,
  type DmIoRegion,
  ErrorBits,
  type IoNotifyFn,
  type PageList,
} from './dm-io.ts';
import { EIO, ENOMEM, IS_ERR } from './errno.ts';
import type { Linux } from './kernel.ts';

/** Requests for which each announced page makes room. */
const IOS_PER_PAGE = 4;
/** Bios in the reserve, however many pages are announced. */
const BIOS = 16;

export function createDmIo2x(k: Linux) {
  let client: DmIoClient | null = null;
  let pages = 0;

  function mustHaveClient(where: string): DmIoClient {
    if (client === null) throw new KernelBug('DMIO-14', 'I/O before dm_io_get()', where);
    return client;
  }

  /** The one check that is not that of the new interface: several regions are for what is exactly a WRITE. */
  function refused(num_regions: number, rw: number, where: string): boolean {
    if (num_regions <= 1 || rw === WRITE) return false;
    k.warnings.warn('DMIO-01', `rw ${rw} with ${num_regions} regions`, where);
    return true;
  }

  function* sync(
    num_regions: number,
    where: readonly DmIoRegion[],
    rw: number,
    mem: DmIoMemory,
    error_bits: ErrorBits,
    name: string,
  ): Sleeps<number> {
    const owner = mustHaveClient(name);
    if (refused(num_regions, rw, name)) return -EIO;
    const req = {
      bi_op: rw & WRITE,
      bi_op_flags: rw & ~WRITE,
      mem,
      notify: { fn: null },
      client: owner,
    };
    return yield* k.dmIo.dm_io(req, num_regions, where, error_bits);
  }

  function* async(
    num_regions: number,
    where: readonly DmIoRegion[],
    rw: number,
    mem: DmIoMemory,
    fn: IoNotifyFn,
    context: unknown,
    name: string,
  ): Sleeps<number> {
    const owner = mustHaveClient(name);
    if (refused(num_regions, rw, name)) {
      const bits = new ErrorBits();
      bits.set(0);
      fn(bits, context);
      return -EIO;
    }
    const req = { bi_op: rw & WRITE, bi_op_flags: rw & ~WRITE, mem, notify: { fn, context }, client: owner };
    return yield* k.dmIo.dm_io(req, num_regions, where, null);
  }

  return {
    /** Announces I/O on so many pages at a time: 0, or -ENOMEM. Before any I/O. May sleep. */
    dm_io_get(num_pages: number): number {
      if (!(Number.isSafeInteger(num_pages) && num_pages > 0))
        throw new KernelBug('DMIO-14', `${num_pages} pages`, 'dm_io_get');
      const ios = (pages + num_pages) * IOS_PER_PAGE;
      if (client === null) {
        const made = k.dmIo.__dm_io_client_create(ios, BIOS);
        if (IS_ERR(made)) return made;
        client = made;
      } else if (k.mempool.mempool_resize(client.pool, ios) !== 0) {
        return -ENOMEM;
      }
      pages += num_pages;
      return 0;
    },

    /** Takes an announcement back; the last one ends the reserves. @throws KernelBug `DMIO-14` if there was none */
    *dm_io_put(num_pages: number): Sleeps<void> {
      if (client === null || !(Number.isInteger(num_pages) && num_pages > 0 && num_pages <= pages))
        throw new KernelBug('DMIO-14', `${num_pages} of ${pages} pages`, 'dm_io_put');
      pages -= num_pages;
      if (pages > 0) {
        k.mempool.mempool_resize(client.pool, pages * IOS_PER_PAGE); // smaller: it cannot fail
        return;
      }
      const last = client;
      client = null;
      yield* k.dmIo.dm_io_client_destroy(last);
    },

    /** From or to pages in a list, the first from `offset` on; waits. 0, or -EIO: `error_bits` says which regions. */
    *dm_io_sync(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      pl: PageList,
      offset: number,
      error_bits: ErrorBits,
    ): Sleeps<number> {
      const mem = { type: DM_IO_PAGE_LIST, offset, ptr: { pl } } as const;
      return yield* sync(num_regions, where, rw, mem, error_bits, 'dm_io_sync');
    },

    /** dm_io_sync() from or to the vecs of an array. */
    *dm_io_sync_bvec(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      bvec: readonly BioVec[],
      error_bits: ErrorBits,
    ): Sleeps<number> {
      const mem = { type: DM_IO_BVEC, ptr: { bvec } } as const;
      return yield* sync(num_regions, where, rw, mem, error_bits, 'dm_io_sync_bvec');
    },

    /** dm_io_sync() from or to a vmalloc area. */
    *dm_io_sync_vm(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      data: number,
      error_bits: ErrorBits,
    ): Sleeps<number> {
      const mem = { type: DM_IO_VMA, ptr: { vma: data } } as const;
      return yield* sync(num_regions, where, rw, mem, error_bits, 'dm_io_sync_vm');
    },

    /** As dm_io_sync(), but returns 0 when all is submitted; `fn` is called once, with the regions that failed. */
    *dm_io_async(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      pl: PageList,
      offset: number,
      fn: IoNotifyFn,
      context: unknown,
    ): Sleeps<number> {
      const mem = { type: DM_IO_PAGE_LIST, offset, ptr: { pl } } as const;
      return yield* async(num_regions, where, rw, mem, fn, context, 'dm_io_async');
    },

    /** dm_io_async() from or to the vecs of an array. */
    *dm_io_async_bvec(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      bvec: readonly BioVec[],
      fn: IoNotifyFn,
      context: unknown,
    ): Sleeps<number> {
      const mem = { type: DM_IO_BVEC, ptr: { bvec } } as const;
      return yield* async(num_regions, where, rw, mem, fn, context, 'dm_io_async_bvec');
    },

    /** dm_io_async() from or to a vmalloc area. */
    *dm_io_async_vm(
      num_regions: number,
      where: readonly DmIoRegion[],
      rw: number,
      data: number,
      fn: IoNotifyFn,
      context: unknown,
    ): Sleeps<number> {
      const mem = { type: DM_IO_VMA, ptr: { vma: data } } as const;
      return yield* async(num_regions, where, rw, mem, fn, context, 'dm_io_async_vm');
    },
  };
}
