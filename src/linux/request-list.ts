// The requests that wait in a queue for its driver: a list through the requests themselves.

import { KernelBug } from '../kernel/index.ts';
import type { Request, RequestQueue } from './blkdev.ts';

/** Queues a request behind or in front of the others. */
export function insertRequest(q: RequestQueue, rq: Request, atHead: boolean): void {
  if (rq.queued) throw new KernelBug('request-queued', 'inserted twice', `queue ${q.id}`);
  rq.queued = true;
  rq.prev = atHead ? null : q.tail;
  rq.next = atHead ? q.head : null;
  if (rq.prev === null) q.head = rq;
  else rq.prev.next = rq;
  if (rq.next === null) q.tail = rq;
  else rq.next.prev = rq;
}

/** Takes a request out, wherever it stands. */
export function removeRequest(q: RequestQueue, rq: Request): void {
  if (rq.prev === null) q.head = rq.next;
  else rq.prev.next = rq.next;
  if (rq.next === null) q.tail = rq.prev;
  else rq.next.prev = rq.prev;
  rq.next = rq.prev = null;
  rq.queued = false;
}
