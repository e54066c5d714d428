// Every function of the flat API that takes a count, a size or an offset, called with that number and otherwise right.

import type { Sleeps } from '../../src/kernel/index.ts';
import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  type Bio,
  Device,
  DM_IO_KMEM,
  type DmIoMemory,
  ErrorBits,
  FOLL_GET,
  GFP_KERNEL,
  IovIter,
  type Mempool,
  READ,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  WRITE,
} from '../../src/linux/index.ts';
import { bootDisks } from './dm-io-rig.ts';
import { filledPage, must } from './help.ts';

/** A kernel with a disk, and one good thing of each kind. */
export async function countRig() {
  const { linux, host, bdevs, client, machine } = await bootDisks(1);
  const disk = must(host.disks[0]);
  const page = filledPage(linux, 1);
  const dev = new Device(machine.addController({ kind: 'ahci' }));
  const kbuf = must(linux.kmalloc_now(8192, GFP_KERNEL));
  const bdev = must(bdevs[0]);
  return { linux, disk, q: disk.queue, page, dev, kbuf, bdev, client };
}

export type CountRig = Awaited<ReturnType<typeof countRig>>;
type Call = (rig: CountRig, n: number) => unknown;

const USER = 0x100000;

/** A bio of two pages for the disk. */
function bio({ linux, page, bdev }: CountRig): Bio {
  const made = must(linux.bio_kmalloc(GFP_KERNEL, 4));
  made.bi_bdev = bdev;
  linux.bio_add_page(made, page, PAGE_SIZE, 0);
  linux.bio_add_page(made, filledPage(linux, 2), PAGE_SIZE, 0);
  return made;
}

/** An iterator over two pieces of kernel memory. */
function kvec({ linux, kbuf }: CountRig): IovIter {
  const i = new IovIter();
  const pieces = [
    { iov_base: kbuf, iov_len: 512 },
    { iov_base: kbuf + 1024, iov_len: 512 },
  ];
  linux.iov_iter_kvec(i, WRITE, pieces, 2, 1024);
  return i;
}

function list({ linux, page }: CountRig, nents = 2) {
  const { sgl } = linux.sg_alloc_table(nents);
  let entry: typeof sgl | null = sgl;
  while (entry !== null) {
    linux.sg_set_page(entry, page, 512, 0);
    entry = linux.sg_next(entry);
  }
  return sgl;
}

/** What one bio of a driver's own is: the vecs of an iterator. */
const PIECES = [{ bv_page: null, bv_len: 512, bv_offset: 0 }];

/** Functions of a queue, or of a device, and a number. */
const OF_QUEUE = [
  'blk_queue_bounce_limit',
  'blk_queue_max_hw_sectors',
  'blk_queue_chunk_sectors',
  'blk_queue_max_discard_sectors',
  'blk_queue_max_write_same_sectors',
  'blk_queue_max_segments',
  'blk_queue_max_segment_size',
  'blk_queue_logical_block_size',
  'blk_queue_physical_block_size',
  'blk_queue_alignment_offset',
  'blk_queue_io_min',
  'blk_queue_io_opt',
  'blk_queue_segment_boundary',
  'blk_queue_virt_boundary',
  'blk_queue_dma_alignment',
  'blk_queue_update_dma_alignment',
  'blk_queue_dma_pad',
  'blk_queue_update_dma_pad',
  'blk_queue_rq_timeout',
] as const;
const OF_DEVICE = [
  'dma_set_mask',
  'dma_set_coherent_mask',
  'dma_set_mask_and_coherent',
  'dma_set_max_seg_size',
  'dma_set_seg_boundary',
] as const;

const settings: Record<string, Call> = {
  ...Object.fromEntries(OF_QUEUE.map((name): [string, Call] => [name, (r, n) => r.linux[name](r.q, n)])),
  ...Object.fromEntries(OF_DEVICE.map((name): [string, Call] => [name, (r, n) => r.linux[name](r.dev, n)])),
  blk_limits_io_min: (r, n) => r.linux.blk_limits_io_min(r.q.limits, n),
  blk_limits_io_opt: (r, n) => r.linux.blk_limits_io_opt(r.q.limits, n),
  blk_queue_dma_drain: (r, n) => r.linux.blk_queue_dma_drain(r.q, () => true, r.kbuf, n),
  blk_stack_limits: (r, n) => r.linux.blk_stack_limits(r.linux.blk_alloc_queue(0).limits, r.q.limits, n),
  bdev_stack_limits: (r, n) => r.linux.bdev_stack_limits(r.linux.blk_alloc_queue(0).limits, r.bdev, n),
  disk_stack_limits: (r, n) => r.linux.disk_stack_limits(r.disk, r.bdev, n),
  set_capacity: (r, n) => r.linux.set_capacity(r.disk, n),
  generic_start_io_acct: (r, n) => r.linux.generic_start_io_acct(READ, n, r.disk.part0),
};

const bios: Record<string, Call> = {
  bioset_create: (r, n) => r.linux.bioset_create(n, 0),
  'bioset_create front_pad': (r, n) => r.linux.bioset_create(1, n),
  bioset_create_nobvec: (r, n) => r.linux.bioset_create_nobvec(n, 0),
  bio_alloc: (r, n) => r.linux.bio_alloc(GFP_KERNEL, n),
  bio_alloc_bioset: (r, n) => r.linux.bio_alloc_bioset(GFP_KERNEL, n, r.linux.fs_bio_set),
  'bio_alloc_bioset without a set': (r, n) => r.linux.bio_alloc_bioset(GFP_KERNEL, n, null),
  bio_kmalloc: (r, n) => r.linux.bio_kmalloc(GFP_KERNEL, n),
  bio_add_page: (r, n) => r.linux.bio_add_page(bio(r), r.page, n, 0),
  'bio_add_page offset': (r, n) => r.linux.bio_add_page(bio(r), r.page, 512, n),
  bio_add_pc_page: (r, n) => r.linux.bio_add_pc_page(r.q, bio(r), r.page, n, 0),
  'bio_add_pc_page offset': (r, n) => r.linux.bio_add_pc_page(r.q, bio(r), r.page, 512, n),
  bio_advance: (r, n) => r.linux.bio_advance(bio(r), n),
  bio_trim: (r, n) => r.linux.bio_trim(bio(r), 0, n),
  'bio_trim offset': (r, n) => r.linux.bio_trim(bio(r), n, 1),
  bio_split: (r, n) => r.linux.bio_split(bio(r), n, GFP_KERNEL, null),
  bio_next_split: (r, n) => r.linux.bio_next_split(bio(r), n, GFP_KERNEL, null),
  *blk_update_request(r, n) {
    const rq = yield* r.linux.blk_get_request(r.q, READ, GFP_KERNEL);
    if (typeof rq === 'number') throw new Error('no request');
    r.linux.blk_rq_set_block_pc(rq);
    yield* r.linux.blk_rq_map_kern(r.q, rq, r.kbuf, 4096, GFP_KERNEL);
    r.linux.blk_update_request(rq, 0, n);
  },
  *blk_rq_map_kern(r, n) {
    const rq = yield* r.linux.blk_get_request(r.q, READ, GFP_KERNEL);
    if (typeof rq === 'number') throw new Error('no request');
    yield* r.linux.blk_rq_map_kern(r.q, rq, r.kbuf, n, GFP_KERNEL);
  },
  *blk_rq_map_user(r, n) {
    const rq = yield* r.linux.blk_get_request(r.q, READ, GFP_KERNEL);
    if (typeof rq === 'number') throw new Error('no request');
    yield* r.linux.blk_rq_map_user(r.q, rq, null, USER, n, GFP_KERNEL);
  },
  'blk_rq_map_user_iov length': function* (r, n) {
    const rq = yield* r.linux.blk_get_request(r.q, READ, GFP_KERNEL);
    if (typeof rq === 'number') throw new Error('no request');
    const i = new IovIter();
    r.linux.iov_iter_init(i, READ, [{ iov_base: USER, iov_len: n }], 1, n);
    yield* r.linux.blk_rq_map_user_iov(r.q, rq, null, i, GFP_KERNEL);
  },
  bio_map_kern: (r, n) => r.linux.bio_map_kern(r.q, r.kbuf, n, GFP_KERNEL),
  bio_copy_kern: (r, n) => r.linux.bio_copy_kern(r.q, r.kbuf, n, GFP_KERNEL, true),
};

const iterators: Record<string, Call> = {
  iov_iter_init: (r, n) => r.linux.iov_iter_init(new IovIter(), READ, [{ iov_base: 0, iov_len: 1 }], n, 1),
  'iov_iter_init bytes': (r, n) =>
    r.linux.iov_iter_init(new IovIter(), READ, [{ iov_base: 0, iov_len: 1 }], 1, n),
  iov_iter_kvec: (r, n) =>
    r.linux.iov_iter_kvec(new IovIter(), READ, [{ iov_base: r.kbuf, iov_len: 1 }], n, 1),
  iov_iter_bvec: (r, n) => r.linux.iov_iter_bvec(new IovIter(), READ, PIECES, n, 1),
  iov_length: (r, n) => r.linux.iov_length([{ iov_base: 0, iov_len: 1 }], n),
  iov_iter_npages: (r, n) => r.linux.iov_iter_npages(kvec(r), n),
  iov_iter_advance: (r, n) => r.linux.iov_iter_advance(kvec(r), n),
  iov_iter_truncate: (r, n) => r.linux.iov_iter_truncate(kvec(r), n),
  iov_iter_reexpand: (r, n) => r.linux.iov_iter_reexpand(kvec(r), n),
  *'iov_iter_reexpand copy_to_iter'(r, n) {
    const i = kvec(r);
    r.linux.iov_iter_reexpand(i, n);
    yield* r.linux.copy_to_iter(r.kbuf + 4096, 4096, i);
  },
  copy_page_to_iter: (r, n) => r.linux.copy_page_to_iter(r.page, 0, n, kvec(r)),
  'copy_page_to_iter offset': (r, n) => r.linux.copy_page_to_iter(r.page, n, 512, kvec(r)),
  copy_page_from_iter: (r, n) => r.linux.copy_page_from_iter(r.page, 0, n, kvec(r)),
  copy_page_iter_now: (r, n) => r.linux.copy_page_iter_now(r.page, 0, n, kvec(r), true),
  copy_to_iter: (r, n) => r.linux.copy_to_iter(r.kbuf + 4096, n, kvec(r)),
  copy_from_iter: (r, n) => r.linux.copy_from_iter(r.kbuf + 4096, n, kvec(r)),
  import_iovec: (r, n) => r.linux.import_iovec(READ, USER, n, 8, { array: null }, new IovIter()),
  'import_iovec fast_segs': (r, n) => r.linux.import_iovec(READ, USER, 1, n, { array: [] }, new IovIter()),
  import_single_range: (r, n) =>
    r.linux.import_single_range(READ, USER, n, { iov_base: 0, iov_len: 0 }, new IovIter()),
};

const memory: Record<string, Call> = {
  sg_alloc_table: (r, n) => r.linux.sg_alloc_table(n),
  sg_init_table: (r, n) => r.linux.sg_init_table(list(r), n),
  sg_set_page: (r, n) => r.linux.sg_set_page(list(r), r.page, n, 0),
  'sg_set_page offset': (r, n) => r.linux.sg_set_page(list(r), r.page, 512, n),
  sg_set_buf: (r, n) => r.linux.sg_set_buf(list(r), r.kbuf, n),
  sg_init_one: (r, n) => r.linux.sg_init_one(list(r), r.kbuf, n),
  sg_copy_from_buffer: (r, n) => r.linux.sg_copy_from_buffer(list(r), n, new Uint8Array(512), 512),
  'sg_copy_from_buffer bytes': (r, n) => r.linux.sg_copy_from_buffer(list(r), 2, new Uint8Array(512), n),
  sg_copy_to_buffer: (r, n) => r.linux.sg_copy_to_buffer(list(r), n, new Uint8Array(512), 512),
  'sg_copy_to_buffer bytes': (r, n) => r.linux.sg_copy_to_buffer(list(r), 2, new Uint8Array(512), n),
  for_each_sg: (r, n) => Array.from(r.linux.for_each_sg(list(r), n)),
  sg_last: (r, n) => r.linux.sg_last(list(r), n),
  sg_chain: (r, n) => r.linux.sg_chain(list(r), n, list(r)),
  dma_map_single: (r, n) => r.linux.dma_map_single(r.dev, r.kbuf, n, 1),
  dma_map_page: (r, n) => r.linux.dma_map_page(r.dev, r.page, 0, n, 1),
  'dma_map_page offset': (r, n) => r.linux.dma_map_page(r.dev, r.page, n, 512, 1),
  dma_map_sg: (r, n) => r.linux.dma_map_sg(r.dev, list(r), n, 1),
  dma_unmap_sg: (r, n) => r.linux.dma_unmap_sg(r.dev, list(r), n, 1),
  dma_unmap_single: (r, n) =>
    r.linux.dma_unmap_single(r.dev, r.linux.dma_map_single(r.dev, r.kbuf, 512, 1), n, 1),
  dma_sync_single_for_cpu: (r, n) =>
    r.linux.dma_sync_single_for_cpu(r.dev, r.linux.dma_map_single(r.dev, r.kbuf, 512, 1), n, 1),
  dma_sync_sg_for_cpu: (r, n) => r.linux.dma_sync_sg_for_cpu(r.dev, list(r), n, 1),
  dma_alloc_coherent: (r, n) => r.linux.dma_alloc_coherent(r.dev, n, GFP_KERNEL),
  dma_narrow: (r, n) => r.linux.dma_narrow(r.dev, r.kbuf, n, 24),
  'dma_narrow bits': (r, n) => r.linux.dma_narrow(r.dev, r.kbuf, 512, n),
  kmalloc: (r, n) => r.linux.kmalloc(n, GFP_KERNEL),
  kmalloc_now: (r, n) => r.linux.kmalloc_now(n, GFP_KERNEL),
  kzalloc: (r, n) => r.linux.kzalloc(n, GFP_KERNEL),
  vmalloc: (r, n) => r.linux.vmalloc(n),
  vzalloc: (r, n) => r.linux.vzalloc(n),
  *vread(r, n) {
    r.linux.vread(new Uint8Array(512), must(yield* r.linux.vmalloc(4096)), n);
  },
  *flush_kernel_vmap_range(r, n) {
    r.linux.flush_kernel_vmap_range(must(yield* r.linux.vmalloc(4096)), n);
  },
  alloc_pages: (r, n) => r.linux.alloc_pages(GFP_KERNEL, n),
  alloc_pages_now: (r, n) => r.linux.alloc_pages_now(GFP_KERNEL, n),
  __get_free_pages: (r, n) => r.linux.__get_free_pages(GFP_KERNEL, n),
  release_pages: (r, n) => r.linux.release_pages([filledPage(r.linux, 3)], n),
  nth_page: (r, n) => r.linux.nth_page(r.page, n),
  swiotlb_tbl_map_single: (r, n) => r.linux.swiotlb_tbl_map_single(r.dev, r.kbuf, n, 1),
};

function pool({ linux }: CountRig): Mempool {
  const cache = must(linux.kmem_cache_create('count', 8, 0, 0, () => ({})));
  return must(linux.mempool_create_slab_pool(2, cache));
}

const pools: Record<string, Call> = {
  mempool_create: (r, n) =>
    r.linux.mempool_create(
      n,
      () => ({}),
      () => undefined,
      null,
    ),
  mempool_create_slab_pool: (r, n) =>
    r.linux.mempool_create_slab_pool(n, must(r.linux.kmem_cache_create('count', 8, 0, 0, () => ({})))),
  mempool_create_kmalloc_pool: (r, n) => r.linux.mempool_create_kmalloc_pool(n, 512),
  'mempool_create_kmalloc_pool size': (r, n) => r.linux.mempool_create_kmalloc_pool(2, n),
  mempool_create_page_pool: (r, n) => r.linux.mempool_create_page_pool(n, 0),
  'mempool_create_page_pool order': (r, n) => r.linux.mempool_create_page_pool(2, n),
  mempool_resize: (r, n) => r.linux.mempool_resize(pool(r), n),
};

function kmem({ kbuf }: CountRig): DmIoMemory {
  return { type: DM_IO_KMEM, ptr: { addr: kbuf } };
}

function* dmIo(rig: CountRig, bi_op: number, num: number, sector: number, count: number): Sleeps<unknown> {
  const { client, bdev } = rig;
  const request = { bi_op, bi_op_flags: 0, mem: kmem(rig), notify: { fn: null }, client };
  return yield* rig.linux.dm_io(request, num, [{ bdev, sector, count }], new ErrorBits());
}

const devices: Record<string, Call> = {
  dm_io: (r, n) => dmIo(r, REQ_OP_WRITE, n, 0, 1),
  'dm_io sectors': (r, n) => dmIo(r, REQ_OP_WRITE, 1, 0, n),
  'dm_io discard': (r, n) => {
    r.linux.blk_queue_max_discard_sectors(r.q, 8);
    return dmIo(r, REQ_OP_DISCARD, 1, 0, n);
  },
  'dm_io sector': (r, n) => dmIo(r, REQ_OP_READ, 1, n, 1),
  dm_io_get: (r, n) => r.linux.dm_io_get(n),
  *dm_io_put(r, n) {
    r.linux.dm_io_get(1);
    yield* r.linux.dm_io_put(n);
  },
  __dm_io_client_create: (r, n) => r.linux.__dm_io_client_create(n, 1),
  '__dm_io_client_create bios': (r, n) => r.linux.__dm_io_client_create(1, n),
  *__get_user_pages(r, n) {
    const mm = must(r.linux.kernel.cpu.current?.mm);
    yield* mm.mmapSem.read();
    yield* r.linux.__get_user_pages(null, mm, USER, n, FOLL_GET, [], null, null);
    mm.mmapSem.unlockRead();
  },
  *get_user_pages(r, n) {
    const mm = must(r.linux.kernel.cpu.current?.mm);
    yield* mm.mmapSem.read();
    yield* r.linux.get_user_pages(null, mm, USER, n, true, false, null, null);
    mm.mmapSem.unlockRead();
  },
  get_user_pages_fast: (r, n) => r.linux.get_user_pages_fast(USER, n, true, []),
  __get_user_pages_fast: (r, n) => r.linux.__get_user_pages_fast(USER, n, true, []),
  __getblk: (r, n) => r.linux.__getblk(r.bdev, n, 512),
  __bread: (r, n) => r.linux.__bread(r.bdev, n, 512),
  write_boundary_block: (r, n) => r.linux.write_boundary_block(r.bdev, n, 512),
  unmap_underlying_metadata: (r, n) => r.linux.unmap_underlying_metadata(r.bdev, n, 512),
  alloc_page_buffers: (r, n) => r.linux.alloc_page_buffers(r.page, n, false),
  create_empty_buffers: (r, n) => r.linux.create_empty_buffers(filledPage(r.linux, 4), n, 0),
  ll_rw_block: (r, n) => r.linux.ll_rw_block(READ, n, []),
};

/** By the function's name, and where it takes several numbers by a word behind it. */
export const COUNT_CALLS: Readonly<Record<string, Call>> = {
  ...settings,
  ...bios,
  ...iterators,
  ...memory,
  ...pools,
  ...devices,
};
