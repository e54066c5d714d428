// What C punishes with an oops: NULL where an object is wanted, because an allocation failed and nobody looked, or an
// errno, because nobody asked IS_ERR(). Callers in JavaScript have no types that would tell them.

import type { Page, Sleeps } from '../../src/kernel/index.ts';
import {
  Bio,
  Device,
  DM_IO_KMEM,
  type DmIoClient,
  GFP_KERNEL,
  IovIter,
  type LinuxApi,
  type Mempool,
  READ,
  REQ_OP_WRITE,
  type Request,
  type RequestQueue,
  type Scatterlist,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inTask } from './help.ts';

const test = suite('linux arguments');

type Call = (linux: LinuxApi) => unknown;

/** Calls a function in a task, and drives what it returns if that may sleep. */
function call(linux: LinuxApi, body: Call): void {
  inTask(linux, function* () {
    const result = body(linux);
    const next = (result as { next?: unknown } | null | undefined)?.next;
    if (typeof next === 'function') yield* result as Sleeps<unknown>;
  });
}

/** Calls with `wrong` where a bio, a request … is wanted, by the name of the function. */
function calls(wrong: unknown): Record<string, Call> {
  const bio = wrong as Bio;
  const rq = wrong as Request;
  const q = wrong as RequestQueue;
  const page = wrong as Page;
  const dev = wrong as Device;
  const sgl = wrong as Scatterlist;
  return {
    submit_bio: (k) => k.submit_bio(bio),
    generic_make_request: (k) => k.generic_make_request(bio),
    submit_bio_wait: (k) => k.submit_bio_wait(bio),
    bio_put: (k) => k.bio_put(bio),
    bio_get: (k) => k.bio_get(bio),
    bio_endio: (k) => k.bio_endio(bio),
    bio_io_error: (k) => k.bio_io_error(bio),
    bio_reset: (k) => k.bio_reset(bio),
    bio_init: (k) => k.bio_init(bio),
    bio_advance: (k) => k.bio_advance(bio, 512),
    bio_trim: (k) => k.bio_trim(bio, 1, 1),
    bio_chain: (k) => k.bio_chain(new Bio(1), bio),
    bio_split: (k) => k.bio_split(bio, 1, GFP_KERNEL, null),
    bio_next_split: (k) => k.bio_next_split(bio, 1, GFP_KERNEL, null),
    bio_clone: (k) => k.bio_clone(bio, GFP_KERNEL),
    bio_clone_fast: (k) => k.bio_clone_fast(bio, GFP_KERNEL, null),
    bio_clone_bioset: (k) => k.bio_clone_bioset(bio, GFP_KERNEL, null),
    bio_copy_data: (k) => k.bio_copy_data(new Bio(1), bio),
    zero_fill_bio: (k) => k.zero_fill_bio(bio),
    bio_add_page: (k) => k.bio_add_page(new Bio(1), page, 512, 0),
    get_page: (k) => k.get_page(page),
    put_page: (k) => k.put_page(page),
    __free_page: (k) => k.__free_page(page),
    lock_page: (k) => k.lock_page(page),
    unlock_page: (k) => k.unlock_page(page),
    set_page_dirty: (k) => k.set_page_dirty(page),
    set_page_dirty_lock: (k) => k.set_page_dirty_lock(page),
    kmap: (k) => k.kmap(page),
    page_address: (k) => k.page_address(page),
    blk_get_request: (k) => k.blk_get_request(q, READ, GFP_KERNEL),
    blk_cleanup_queue: (k) => k.blk_cleanup_queue(q),
    blk_run_queue: (k) => k.blk_run_queue(q),
    blk_peek_request: (k) => k.blk_fetch_request(q),
    blk_put_request: (k) => k.blk_put_request(rq),
    blk_rq_set_block_pc: (k) => k.blk_rq_set_block_pc(rq),
    blk_execute_rq: (k) => k.blk_execute_rq(q, null, rq, false),
    blk_execute_rq_nowait: (k) => k.blk_execute_rq_nowait(q, null, rq, false, null),
    blk_end_request_all: (k) => k.blk_end_request_all(rq, 0),
    blk_update_request: (k) => k.blk_end_request(rq, 0, 512),
    blk_start_request: (k) => k.blk_start_request(rq),
    blk_requeue_request: (k) => k.blk_requeue_request(q, rq),
    blk_complete_request: (k) => k.blk_complete_request(rq),
    blk_rq_map_user: (k) => k.blk_rq_map_user(k.blk_alloc_queue(0), rq, null, 4096, 512, GFP_KERNEL),
    blk_rq_map_user_iov: (k) =>
      k.blk_rq_map_user_iov(k.blk_alloc_queue(0), rq, null, new IovIter(), GFP_KERNEL),
    blk_rq_map_kern: (k) => k.blk_rq_map_kern(k.blk_alloc_queue(0), rq, 4096, 512, GFP_KERNEL),
    blk_rq_map_sg: (k) => k.blk_rq_map_sg(q, rq, k.sg_alloc_table(1).sgl),
    blk_rq_append_bio: (k) => k.blk_rq_append_bio(rq, new Bio(1)),
    sg_next: (k) => k.sg_next(sgl),
    sg_page: (k) => k.sg_page(sgl),
    sg_set_page: (k) => k.sg_set_page(k.sg_alloc_table(1).sgl, page, 512, 0),
    dma_map_single: (k) => k.dma_map_single(dev, 4096, 512, 1),
    dma_map_sg: (k) => k.dma_map_sg(dev, k.sg_alloc_table(1).sgl, 1, 1),
    dma_unmap_sg: (k) => k.dma_unmap_sg(dev, k.sg_alloc_table(1).sgl, 1, 1),
    dma_alloc_coherent: (k) => k.dma_alloc_coherent(dev, 4096, GFP_KERNEL),
    dma_set_mask: (k) => k.dma_set_mask(dev, 0xffffffff),
    mempool_alloc: (k) => k.mempool_alloc(wrong as Mempool, GFP_KERNEL),
    dm_io_client_destroy: (k) => k.dm_io_client_destroy(wrong as DmIoClient),
    dm_io: (k) => {
      const mem = { type: DM_IO_KMEM, ptr: { addr: 4096 } };
      const client = wrong as DmIoClient;
      const request = { bi_op: REQ_OP_WRITE, bi_op_flags: 0, mem, notify: { fn: null }, client };
      return k.dm_io(request, 0, [], null);
    },
  };
}

for (const [wrong, words] of [
  [null, 'NULL is given as'],
  [undefined, 'NULL is given as'],
  [-12, 'the errno -ENOMEM is given as'],
  [{}, 'something else is given as'],
] as const) {
  test(`a function that gets ${JSON.stringify(wrong) ?? 'undefined'} for an object says which and what`, async () => {
    const linux = await boot();
    for (const [name, body] of Object.entries(calls(wrong))) {
      const bug = assertBug('argument', () => call(linux, body));
      assert.is(bug.where, name);
      assert.ok(bug.what.startsWith(words), `${name}: ${bug.what}`);
    }
  });
}

test('a page or a device that is missing in a good call is noticed, too', async () => {
  const linux = await boot();
  const machine = await createMachine();
  const dev = new Device(machine.addController({ kind: 'ahci' }));
  const none = null as unknown as Page;
  assert.is(assertBug('argument', () => linux.dma_map_page(dev, none, 0, 512, 1)).where, 'dma_map_page');
  const client = inTask(linux, function* () {
    return linux.dm_io_client_create();
  }) as DmIoClient;
  const mem = { type: DM_IO_KMEM, ptr: { addr: 4096 } };
  const request = { bi_op: REQ_OP_WRITE, bi_op_flags: 0, mem, notify: { fn: null }, client };
  const where = [{ bdev: null as never, sector: 0, count: 1 }];
  const bug = assertBug('argument', () => inTask(linux, () => linux.dm_io(request, 1, where, null)));
  assert.is(bug.what, 'NULL is given as the device of region 0');
});
