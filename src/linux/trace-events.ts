// From the kernel's trace points to the machine's typed events: one line of time for kernel and hardware.

import type { Tracer } from '../trace/index.ts';
import { bio_data_dir, bio_for_each_segment, bio_sectors } from './bio-iter.ts';
import { BIO_BOUNCED, BIO_USER_MAPPED, type Bio, type BioQueue, WRITE } from './bio-struct.ts';
import type { LinuxTrace, TracedRequest } from './trace.ts';

const DIRECTIONS = ['both', 'to device', 'from device'];

/** Hands every trace point to the tracer while that has listeners. Returns the function that stops it. */
export function traceToEvents(trace: LinuxTrace, tracer: Tracer): () => void {
  const ofBio = (bio: Bio) => ({
    disk: bio.bi_bdev?.bd_name ?? '-',
    op: opOf(bio),
    sector: bio.bi_iter.bi_sector,
    sectors: bio_sectors(bio),
  });
  const ofRequest = (rq: TracedRequest) => ({
    disk: rq.bio?.bi_bdev?.bd_name ?? '-',
    op: rq.bio === null ? 'none' : opOf(rq.bio),
    bytes: rq.__data_len,
  });
  return trace.listen({
    pages_pinned: (user, pages, write) => tracer.emit('pin', null, { user, pages, write }),
    pages_copied: (why, bytes) => tracer.emit('copy', null, { why, bytes }),
    block_bio_queue: (_q, bio) => tracer.emit('block_bio_queue', null, ofBio(bio)),
    block_bio_bounce: (_q, bio) => tracer.emit('block_bio_bounce', null, ofBio(bio)),
    block_split: (_q, bio, rest) => {
      const { disk, op, sector } = ofBio(bio);
      tracer.emit('block_split', null, { disk, op, sector, rest });
    },
    block_bio_remap: (_q, bio, _dev, from) => {
      const { disk, op, sector } = ofBio(bio);
      tracer.emit('block_bio_remap', null, { disk, op, sector, from });
    },
    block_getrq: (_q, _bio, rw) => tracer.emit('block_getrq', null, { disk: '-', op: direction(rw) }),
    block_sleeprq: (_q, _bio, rw) => tracer.emit('block_sleeprq', null, { disk: '-', op: direction(rw) }),
    block_rq_issue: (_q: BioQueue, rq) => {
      tracer.emit('block_rq_issue', null, { ...ofRequest(rq), segments: segmentsOf(rq) });
      for (let bio = rq.bio; bio !== null; bio = bio.bi_next) pageUse(tracer, bio);
    },
    block_rq_complete: (_q, rq, bytes) =>
      tracer.emit('block_rq_complete', null, { ...ofRequest(rq), bytes, error: rq.errors }),
    dma_map: ({ address, cpu, bytes, direction: way }) =>
      tracer.emit('dma_map', null, {
        bus: address,
        memory: cpu,
        bytes,
        direction: DIRECTIONS[way] ?? 'none',
      }),
    dma_unmap: ({ address, bytes, direction: way }) =>
      tracer.emit('dma_unmap', null, { bus: address, bytes, direction: DIRECTIONS[way] ?? 'none' }),
  });
}

function opOf(bio: Bio): string {
  return direction(bio_data_dir(bio));
}

function direction(rw: number): string {
  return rw === WRITE ? 'write' : 'read';
}

function segmentsOf(rq: TracedRequest): number {
  let vecs = 0;
  for (let bio = rq.bio; bio !== null; bio = bio.bi_next) bio_for_each_segment(bio, () => void vecs++);
  return vecs;
}

/** One event for each page of a bio: itself, or what stands for it. */
function pageUse(tracer: Tracer, bio: Bio): void {
  const bounced = (bio.bi_flags & (1 << BIO_BOUNCED)) !== 0;
  const owner = bounced ? (bio.bi_private as Bio) : bio; // blk_queue_bounce() put it there
  const mapped = (owner.bi_flags & (1 << BIO_USER_MAPPED)) !== 0;
  const owned: { page: number; bytes: number }[] = [];
  bio_for_each_segment(owner, (vec) => {
    owned.push({ page: vec.bv_page?.phys ?? 0, bytes: vec.bv_len });
  });
  let i = 0;
  bio_for_each_segment(bio, (vec) => {
    const { page, bytes } = owned[i++] ?? { page: 0, bytes: vec.bv_len };
    const device_page = vec.bv_page?.phys ?? 0;
    const kind = page !== device_page ? 'bounced' : mapped ? 'direct' : 'copied';
    tracer.emit('page_use', null, { page, device_page, bytes, kind });
  });
}
