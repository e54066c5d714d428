import { KernelBug, type Page } from '../../src/kernel/index.ts';
import {
  Bio,
  BioVec,
  bootLinux,
  EINVAL,
  type LinuxApi,
  REQ_COPY_USER,
  REQ_NOMERGE,
  REQ_OP_WRITE,
  REQ_TYPE_BLOCK_PC,
  type Request,
  type RequestQueue,
  type Scatterlist,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux merge');

function* nothing() {}

async function boot() {
  const machine = await createMachine({ ram: 'small', guard: false });
  const linux = bootLinux(machine);
  const q = linux.blk_alloc_queue(0);
  linux.blk_queue_make_request(q, nothing);
  const { kernel } = linux;
  const rq = kernel.scheduler.atomic(linux.blk_get_request(q, 0, 0)) as Request;
  const page = (pfn: number): Page => kernel.frames.pfnToPage(pfn) as Page;
  return { linux, q, rq, page, memory: machine.memory };
}

type Vec = readonly [pfn: number, offset: number, length: number];

/** A bio over pieces of memory: page frame, offset and length of each. */
function bioOf(page: (pfn: number) => Page, vecs: readonly Vec[]): Bio {
  const bio = new Bio(vecs.length);
  bio.bi_io_vec = vecs.map(([pfn, offset, length]) =>
    Object.assign(new BioVec(), { bv_page: page(pfn), bv_offset: offset, bv_len: length }),
  );
  bio.bi_vcnt = vecs.length;
  bio.bi_iter.bi_size = vecs.reduce((sum, [, , length]) => sum + length, 0);
  return bio;
}

/** The entries of a mapped request: physical address and bytes of each. */
function entries(linux: LinuxApi, sgl: Scatterlist): [number, number][] {
  const list: [number, number][] = [];
  for (let sg: Scatterlist | null = sgl; sg !== null; sg = linux.sg_next(sg)) {
    list.push([linux.sg_phys(sg), sg.length]);
  }
  return list;
}

function map(linux: LinuxApi, q: RequestQueue, rq: Request, bio: Bio): [number, number][] {
  assert.is(linux.blk_rq_append_bio(rq, bio), 0);
  const table = linux.sg_alloc_table(64);
  const used = linux.blk_rq_map_sg(q, rq, table.sgl);
  const list = entries(linux, table.sgl);
  assert.is(list.length, used);
  assert.is(rq.nr_phys_segments, used);
  return list;
}

const TOUCHING: readonly Vec[] = [
  [16, 0, 4096],
  [17, 0, 4096],
  [20, 0, 512],
];

test('SG-01 vecs that touch share a segment, others do not', async () => {
  const { linux, q, rq, page } = await boot();
  assert.equal(map(linux, q, rq, bioOf(page, TOUCHING)), [
    [0x10000, 8192],
    [0x14000, 512],
  ]);
});

test('SG-01 a vec that ends where the one before it begins does not touch it', async () => {
  const { linux, q, rq, page } = await boot();
  const vecs: readonly Vec[] = [
    [17, 0, 4096],
    [16, 0, 4096],
    [16, 0, 4096],
  ];
  assert.equal(
    map(linux, q, rq, bioOf(page, vecs)),
    vecs.map(([pfn]) => [pfn * 4096, 4096]),
  );
});

test('SG-01 without clustering every vec is a segment', async () => {
  const { linux, q, rq, page } = await boot();
  q.limits.cluster = false;
  assert.is(map(linux, q, rq, bioOf(page, TOUCHING)).length, 3);
});

test('SG-01 a segment is never made longer than max_segment_size', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_max_segment_size(q, 8192);
  const vecs = [16, 17, 18, 19, 20].map((pfn): Vec => [pfn, 0, 4096]);
  assert.equal(map(linux, q, rq, bioOf(page, vecs)), [
    [0x10000, 8192],
    [0x12000, 8192],
    [0x14000, 4096],
  ]);
});

test('SG-01 a segment is never made to cross the boundary', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_segment_boundary(q, 0x1fff);
  const vecs = [17, 18, 19, 20].map((pfn): Vec => [pfn, 0, 4096]);
  assert.equal(map(linux, q, rq, bioOf(page, vecs)), [
    [0x11000, 4096],
    [0x12000, 8192],
    [0x14000, 4096],
  ]);
});

test('SG-01 it is the last byte of the second vec that must not lie beyond the boundary', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_segment_boundary(q, 0x1fff);
  const vecs: Vec[] = [
    [16, 0, 4096],
    [17, 0, 8192],
  ];
  assert.equal(map(linux, q, rq, bioOf(page, vecs)), [
    [0x10000, 4096],
    [0x11000, 8192],
  ]);
});

test('SG-01 one vec is not cut, whatever the limits', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_max_segment_size(q, 4096);
  linux.blk_queue_segment_boundary(q, 0xfff);
  assert.equal(map(linux, q, rq, bioOf(page, [[16, 512, 16384]])), [[0x10200, 16384]]);
});

test('SG-01 pages on both sides of 4 GiB do not touch, and no boundary is lost above it', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_segment_boundary(q, 0xffff);
  const high = 2 ** 32 / 4096;
  const vecs: Vec[] = [
    [high + 15, 0, 4096],
    [high + 16, 0, 4096],
    [high + 17, 0, 4096],
  ];
  assert.equal(map(linux, q, rq, bioOf(page, vecs)), [
    [2 ** 32 + 0xf000, 4096],
    [2 ** 32 + 0x10000, 8192],
  ]);
});

test('SG-02 with a virt boundary any offset of the next vec, or end of the previous one, is a gap', async () => {
  const { linux, q, page } = await boot();
  const gap = (previous: Vec, offset: number): boolean => {
    const [vec] = bioOf(page, [previous]).bi_io_vec as [BioVec];
    return linux.bvec_gap_to_prev(q, vec, offset);
  };
  assert.is(gap([16, 0, 512], 512), false);
  linux.blk_queue_virt_boundary(q, 4095);
  assert.is(gap([16, 0, 4096], 0), false);
  assert.is(gap([16, 512, 3584], 0), false);
  assert.is(gap([16, 0, 512], 0), true);
  assert.is(gap([16, 0, 4096], 512), true);
  linux.blk_queue_virt_boundary(q, 511);
  assert.is(gap([16, 0, 512], 0), false);
  assert.is(gap([16, 0, 4096], 512), true); // aligned to the boundary, and still not in-page offset 0
});

test('SG-02 between two bios it is where the one ends and the other begins', async () => {
  const { linux, q, page } = await boot();
  linux.blk_queue_virt_boundary(q, 4095);
  const gap = (previous: Vec, next: Vec): boolean =>
    linux.bio_gap(q, bioOf(page, [[16, 0, 4096], previous]), bioOf(page, [next]));
  assert.is(gap([18, 0, 4096], [20, 0, 512]), false);
  assert.is(gap([18, 0, 512], [20, 0, 4096]), true);
  assert.is(gap([18, 0, 4096], [20, 512, 512]), true);
});

test('SG-03 all bios of a request are mapped, segments going on from one to the next', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 4096]]));
  linux.blk_rq_append_bio(rq, bioOf(page, [[17, 0, 4096]]));
  linux.blk_rq_append_bio(rq, bioOf(page, [[30, 512, 512]]));
  assert.is(rq.nr_phys_segments, 3);
  const { sgl } = linux.sg_alloc_table(3);
  assert.is(linux.blk_rq_map_sg(q, rq, sgl), 2); // fewer than nr_phys_segments: those count no merging across bios
  assert.equal(entries(linux, sgl), [
    [0x10000, 8192],
    [0x1e200, 512],
  ]);
});

test('SG-03 the end marks that an earlier use left in the table do not end the list', async () => {
  const { linux, q, rq, page } = await boot();
  const { sgl } = linux.sg_alloc_table(4);
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 512]]));
  assert.is(linux.blk_rq_map_sg(q, rq, sgl), 1);
  assert.is(linux.sg_nents(sgl), 1);
  linux.blk_rq_append_bio(rq, bioOf(page, [[18, 0, 512]]));
  linux.blk_rq_append_bio(rq, bioOf(page, [[20, 0, 512]]));
  assert.is(linux.blk_rq_map_sg(q, rq, sgl), 3);
  assert.is(linux.sg_nents(sgl), 3);
});

test('SG-03 more entries than nr_phys_segments are a warning, a table that is too short a bug', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_rq_append_bio(
    rq,
    bioOf(page, [
      [16, 0, 512],
      [18, 0, 512],
      [20, 0, 512],
    ]),
  );
  rq.nr_phys_segments = 1;
  linux.blk_rq_map_sg(q, rq, linux.sg_alloc_table(3).sgl);
  assert.equal(
    linux.kernel.warnings.all.map(({ rule }) => rule),
    ['SG-03'],
  );
  assert.throws(
    () => linux.blk_rq_map_sg(q, rq, linux.sg_alloc_table(2).sgl),
    (error: unknown) => error instanceof KernelBug && error.rule === 'sg-init',
  );
});

test('SG-04 a copied request is lengthened to the pad, its byte count is not', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_dma_pad(q, 3);
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 510]]));
  rq.cmd_flags |= REQ_COPY_USER;
  const { sgl } = linux.sg_alloc_table(1);
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal([sgl.length, rq.extra_len, linux.blk_rq_bytes(rq)], [512, 2, 510]);
});

test('SG-04 a mapped request, or one that fits, is not lengthened', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_dma_pad(q, 3);
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 510]]));
  const { sgl } = linux.sg_alloc_table(1);
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal([sgl.length, rq.extra_len], [510, 0]);
  rq.cmd_flags |= REQ_COPY_USER;
  linux.blk_queue_dma_pad(q, 1);
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal([sgl.length, rq.extra_len], [510, 0]);
});

test('SG-04 the drain buffer is one entry more, zeroed for a write', async () => {
  const { linux, q, rq, page, memory } = await boot();
  memory.fill(0x30000, 0xaa, 1024);
  linux.blk_queue_dma_drain(q, () => true, 0x30200, 512);
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 512]]));
  const { sgl } = linux.sg_alloc_table(2);
  rq.nr_phys_segments++; // blk_peek_request() does that
  assert.is(linux.blk_rq_map_sg(q, rq, sgl), 2);
  assert.equal(entries(linux, sgl), [
    [0x10000, 512],
    [0x30200, 512],
  ]);
  assert.equal([rq.extra_len, linux.blk_rq_bytes(rq), memory.read8(0x30200)], [512, 512, 0xaa]);
  rq.op = REQ_OP_WRITE;
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal([memory.read8(0x301ff), memory.read8(0x30200), memory.read8(0x303ff)], [0xaa, 0, 0]);
});

test('SG-05 after a part is done only the rest is mapped', async () => {
  const { linux, q, rq, page } = await boot();
  const bio = bioOf(page, [
    [16, 0, 4096],
    [20, 0, 4096],
  ]);
  linux.blk_rq_append_bio(rq, bio);
  bio.bi_iter.bi_size -= 1024;
  bio.bi_iter.bi_bvec_done = 1024;
  const { sgl } = linux.sg_alloc_table(2);
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal(entries(linux, sgl), [
    [0x10400, 3072],
    [0x14000, 4096],
  ]);
  bio.bi_iter.bi_size = 512;
  bio.bi_iter.bi_idx = 1;
  bio.bi_iter.bi_bvec_done = 3584;
  linux.blk_rq_map_sg(q, rq, sgl);
  assert.equal(entries(linux, sgl), [[0x14e00, 512]]);
});

test('SG-06 an empty request takes what the bio is', async () => {
  const { linux, rq, page } = await boot();
  const bio = bioOf(page, TOUCHING);
  bio.bi_op = REQ_OP_WRITE;
  assert.is(linux.blk_rq_append_bio(rq, bio), 0);
  assert.equal([rq.op, rq.__data_len, rq.nr_phys_segments], [REQ_OP_WRITE, 8704, 2]);
  assert.ok(rq.bio === bio && rq.biotail === bio);
});

test('SG-06 a gap, too many sectors or segments give -EINVAL and change nothing', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_max_hw_sectors(q, 16);
  linux.blk_queue_max_segments(q, 2);
  const first = bioOf(page, [[16, 0, 4096]]);
  linux.blk_rq_append_bio(rq, first);
  const state = () => [rq.__data_len, rq.nr_phys_segments, rq.biotail === first, first.bi_next];
  const before = state();
  const refuse = (vecs: readonly Vec[]): number => {
    rq.cmd_flags = 0;
    assert.is(linux.blk_rq_append_bio(rq, bioOf(page, vecs)), -EINVAL);
    assert.equal(state(), before);
    return rq.cmd_flags;
  };
  assert.is(
    refuse([
      [18, 0, 4096],
      [19, 0, 512],
    ]),
    REQ_NOMERGE,
  );
  assert.is(
    refuse([
      [18, 0, 512],
      [20, 0, 512],
    ]),
    REQ_NOMERGE,
  );
  linux.blk_queue_virt_boundary(q, 4095);
  assert.is(refuse([[18, 512, 512]]), 0);
  assert.is(linux.blk_rq_append_bio(rq, bioOf(page, [[17, 0, 4096]])), 0);
});

test('SG-06 segments are summed: bios that touch get no credit', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_max_segments(q, 1);
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 4096]]));
  assert.is(linux.blk_rq_append_bio(rq, bioOf(page, [[17, 0, 4096]])), -EINVAL);
});

test('SG-06 passthrough has the hard limit of sectors, a file system the soft one', async () => {
  const { linux, q, rq, page } = await boot();
  linux.blk_queue_max_hw_sectors(q, 16);
  q.limits.max_sectors = 8;
  linux.blk_rq_append_bio(rq, bioOf(page, [[16, 0, 4096]]));
  assert.is(linux.blk_rq_append_bio(rq, bioOf(page, [[18, 0, 512]])), -EINVAL);
  rq.cmd_type = REQ_TYPE_BLOCK_PC;
  assert.is(linux.blk_rq_append_bio(rq, bioOf(page, [[18, 0, 512]])), 0);
});

test('blk_recount_segments notes the count and sizes of one bio, blk_bio_map_sg maps only that one', async () => {
  const { linux, q, page } = await boot();
  const bio = bioOf(page, TOUCHING);
  bio.bi_next = bioOf(page, [[30, 0, 512]]);
  linux.blk_recount_segments(q, bio);
  assert.equal([bio.bi_phys_segments, bio.bi_seg_front_size, bio.bi_seg_back_size], [2, 8192, 512]);
  const { sgl } = linux.sg_alloc_table(3);
  assert.is(linux.blk_bio_map_sg(q, bio, sgl), 2);
});
