import { KernelBug } from '../../src/kernel/index.ts';
import {
  BLK_BOUNCE_ANY,
  BLK_BOUNCE_ISA,
  bootLinux,
  EINVAL,
  GFP_DMA,
  QueueLimits,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { inProcess } from './help.ts';

const test = suite('linux settings');

async function boot() {
  const machine = await createMachine({ ram: 'small', guard: false });
  const linux = bootLinux(machine);
  return { linux, warnings: () => linux.kernel.warnings.all.map(({ rule, where }) => `${rule} ${where}`) };
}

function* nothing() {}

async function queue() {
  const { linux, warnings } = await boot();
  const q = linux.blk_alloc_queue(0);
  linux.blk_queue_make_request(q, nothing);
  return { linux, q, limits: q.limits, warnings };
}

function bug(rule: string) {
  return (error: unknown) => error instanceof KernelBug && error.rule === rule;
}

test('LIM-01 fewer sectors than a page become a page', async () => {
  const { linux, q, limits, warnings } = await queue();
  linux.blk_queue_max_hw_sectors(q, 3);
  assert.is(limits.max_hw_sectors, 8);
  assert.is(limits.max_sectors, 8);
  assert.is(warnings().length, 1);
});

test('LIM-01 the soft limit is the hard one, the limit of the device and the default cap, whichever is least', async () => {
  const { linux, q, limits } = await queue();
  linux.blk_queue_max_hw_sectors(q, 65536);
  assert.equal([limits.max_hw_sectors, limits.max_sectors], [65536, 2560]);
  linux.blk_queue_max_hw_sectors(q, 512);
  assert.equal([limits.max_hw_sectors, limits.max_sectors], [512, 512]);
  limits.max_dev_sectors = 128;
  linux.blk_queue_max_hw_sectors(q, 512);
  assert.equal([limits.max_hw_sectors, limits.max_sectors], [512, 128]);
});

test('LIM-02 what is too small is raised, with a message and without an error', async () => {
  const { linux, q, limits, warnings } = await queue();
  linux.blk_queue_max_segments(q, 0);
  linux.blk_queue_max_segment_size(q, 512);
  linux.blk_queue_segment_boundary(q, 511);
  assert.is(limits.max_segments, 1);
  assert.is(limits.max_segment_size, 4096);
  assert.is(limits.seg_boundary_mask, 4095);
  assert.equal(warnings(), [
    'LIM-02 blk_queue_max_segments',
    'LIM-02 blk_queue_max_segment_size',
    'LIM-02 blk_queue_segment_boundary',
  ]);
});

test('LIM-02 what is possible is taken as it is', async () => {
  const { linux, q, limits, warnings } = await queue();
  linux.blk_queue_max_segments(q, 17);
  linux.blk_queue_max_segment_size(q, 4096);
  linux.blk_queue_segment_boundary(q, 0xffff);
  linux.blk_queue_virt_boundary(q, 4095);
  assert.equal(
    [limits.max_segments, limits.max_segment_size, limits.seg_boundary_mask, limits.virt_boundary_mask],
    [17, 4096, 0xffff, 4095],
  );
  assert.equal(warnings(), []);
});

test('LIM-03 the logical block raises the physical one and io_min, the physical one io_min', async () => {
  const { linux, q, limits } = await queue();
  const sizes = () => [limits.logical_block_size, limits.physical_block_size, limits.io_min];
  linux.blk_queue_logical_block_size(q, 4096);
  assert.equal(sizes(), [4096, 4096, 4096]);
  linux.blk_queue_physical_block_size(q, 16384);
  assert.equal(sizes(), [4096, 16384, 16384]);
  linux.blk_queue_physical_block_size(q, 512);
  assert.equal(sizes(), [4096, 4096, 16384]);
  linux.blk_queue_io_min(q, 512);
  assert.equal(sizes(), [4096, 4096, 4096]);
});

test('LIM-04 update_dma_alignment only raises, dma_alignment sets; no queue has 511', async () => {
  const { linux, q } = await queue();
  assert.is(linux.queue_dma_alignment(null), 511);
  assert.is(linux.queue_dma_alignment(q), 511);
  linux.blk_queue_update_dma_alignment(q, 3);
  assert.is(q.dma_alignment, 511);
  linux.blk_queue_dma_alignment(q, 3);
  assert.is(q.dma_alignment, 3);
  linux.blk_queue_update_dma_alignment(q, 4095);
  assert.is(q.dma_alignment, 4095);
  assert.throws(() => linux.blk_queue_update_dma_alignment(q, 8191), bug('LIM-04'));
});

test('LIM-05 a drain buffer takes one segment, and needs one to spare', async () => {
  const { linux, q, limits } = await queue();
  linux.blk_queue_max_segments(q, 1);
  assert.is(
    linux.blk_queue_dma_drain(q, () => true, 0x2000, 512),
    -EINVAL,
  );
  assert.is(q.dma_drain_size, 0);
  linux.blk_queue_max_segments(q, 2);
  assert.is(
    linux.blk_queue_dma_drain(q, () => true, 0x2000, 512),
    0,
  );
  assert.equal([limits.max_segments, q.dma_drain_size, q.dma_drain_buffer], [1, 512, 0x2000]);
});

test('LIM-06 chunk_sectors is a power of two', async () => {
  const { linux, q, limits } = await queue();
  linux.blk_queue_chunk_sectors(q, 128);
  assert.is(limits.chunk_sectors, 128);
  assert.throws(() => linux.blk_queue_chunk_sectors(q, 96), bug('LIM-06'));
});

test('LIM-07 any limit below 4 GiB takes bounce pages from the ISA pool', async () => {
  const { linux, q, limits } = await queue();
  for (const limit of [BLK_BOUNCE_ISA, 2 ** 26 - 1, 2 ** 31 - 1, 0xffffefff]) {
    inProcess(linux, () => linux.blk_queue_bounce_limit(q, limit));
    assert.is(limits.bounce_pfn, Math.floor(limit / 4096));
    assert.is(q.bounce_gfp & GFP_DMA, GFP_DMA);
  }
});

test('LIM-07 a limit of exactly 4 GiB or more bounces nothing', async () => {
  const { linux, q, limits } = await queue();
  const last = 2 ** 32 / 4096 + 63; // the small layout ends 256 KiB above 4 GiB
  for (const limit of [0xffffffff, 2 ** 32 + 0x1000, BLK_BOUNCE_ANY]) {
    linux.blk_queue_bounce_limit(q, limit);
    assert.is(limits.bounce_pfn, Math.max(last, Math.floor(limit / 4096)));
    assert.is(q.bounce_gfp & GFP_DMA, 0);
  }
});

function stacked(b: Partial<QueueLimits>, t: Partial<QueueLimits> = {}): [QueueLimits, QueueLimits] {
  return [Object.assign(new QueueLimits(), t), Object.assign(new QueueLimits(), b)];
}

test('LIM-08 stacking takes the least of the limits that are set', async () => {
  const { linux } = await boot();
  const t = new QueueLimits();
  linux.blk_set_stacking_limits(t);
  const [, b] = stacked({ max_sectors: 128, max_hw_sectors: 256, max_segments: 17, max_segment_size: 8192 });
  b.seg_boundary_mask = 0xffff;
  b.virt_boundary_mask = 4095;
  b.bounce_pfn = 0xfff;
  assert.is(linux.blk_stack_limits(t, b, 0), 0);
  assert.equal([t.max_sectors, t.max_hw_sectors, t.max_segments, t.max_segment_size], [128, 256, 17, 8192]);
  assert.equal([t.seg_boundary_mask, t.virt_boundary_mask, t.bounce_pfn], [0xffff, 4095, 0xfff]);
  const [, none] = stacked({ virt_boundary_mask: 0, max_segments: 128 });
  linux.blk_stack_limits(t, none, 0);
  assert.equal([t.virt_boundary_mask, t.max_segments], [4095, 17]);
});

test('LIM-08 stacking takes the greatest of the block sizes', async () => {
  const { linux } = await boot();
  const [t, b] = stacked({
    logical_block_size: 4096,
    physical_block_size: 4096,
    io_min: 4096,
    io_opt: 65536,
  });
  assert.is(linux.blk_stack_limits(t, b, 0), 0);
  assert.equal([t.logical_block_size, t.physical_block_size, t.io_min, t.io_opt], [4096, 4096, 4096, 65536]);
  assert.is(t.misaligned, false);
});

test('LIM-08 alignments that cannot line up give -1 and misaligned', async () => {
  const { linux } = await boot();
  const [t, b] = stacked(
    { physical_block_size: 4096, io_min: 4096 },
    { physical_block_size: 4096, io_min: 4096 },
  );
  assert.is(linux.blk_stack_limits(t, b, 7), -1); // a partition that starts in the middle of a physical block
  assert.is(t.misaligned, true);
  const [aligned, below] = stacked({ physical_block_size: 4096, io_min: 4096 });
  assert.is(linux.blk_stack_limits(aligned, below, 8), 0);
  assert.is(aligned.misaligned, false);
});

test('LIM-08 discard granularities stack, and are misaligned by themselves', async () => {
  const { linux } = await boot();
  const discards = { discard_granularity: 8192, max_discard_sectors: 1024, max_hw_discard_sectors: 1024 };
  const [t, b] = stacked(discards, { ...discards, discard_granularity: 4096, max_discard_sectors: 2048 });
  assert.is(linux.blk_stack_limits(t, b, 0), 0);
  assert.equal([t.discard_granularity, t.max_discard_sectors], [8192, 1024]);
  assert.is(t.discard_misaligned, false);
  linux.blk_stack_limits(t, b, 9);
  assert.is(t.discard_misaligned, true);
});
