// Who asks: processes, and the project and the zone on whose accounts their locked memory is (project(5), zones(7)).

import type { AddressSpace, Task } from '../kernel/index.ts';

/** A limit of a project or a zone (resource_controls(7)). */
export class ResourceControl {
  readonly name: string;
  /** Infinity: none. */
  limit: number;
  /** What happens beyond the limit: the request is refused (the privileged value's usual action), or nothing. */
  action: 'deny' | 'none';
  /** Charged so far. */
  usage = 0;

  constructor(name: string, limit = Number.POSITIVE_INFINITY, action: 'deny' | 'none' = 'deny') {
    this.name = name;
    this.limit = limit;
    this.action = action;
  }
}

/** A project: processes whose use of resources is counted together. */
export class Project {
  readonly kpj_id: number;
  /** project.max-locked-memory, in bytes. */
  readonly max_locked_memory = new ResourceControl('project.max-locked-memory');

  constructor(id: number) {
    this.kpj_id = id;
  }
}

/** A zone. */
export class Zone {
  readonly zone_name: string;
  /** zone.max-locked-memory, in bytes. */
  readonly max_locked_memory = new ResourceControl('zone.max-locked-memory');

  constructor(name: string) {
    this.zone_name = name;
  }
}

export interface ProcInit {
  readonly pid: number;
  readonly name: string;
  /** Null: the process of the kernel itself. */
  readonly as: AddressSpace | null;
  readonly project: Project;
  readonly zone: Zone;
}

/** A process (proc_t). */
export class Proc {
  readonly p_pid: number;
  /** The name of its program (u_comm). */
  readonly u_comm: string;
  /** Its memory; null for the process of the kernel itself, p0. */
  readonly p_as: AddressSpace | null;
  readonly p_project: Project;
  readonly p_zone: Zone;
  /** Bytes that are locked on its account. */
  p_locked_mem = 0;

  constructor(init: ProcInit) {
    this.p_pid = init.pid;
    this.u_comm = init.name;
    this.p_as = init.as;
    this.p_project = init.project;
    this.p_zone = init.zone;
  }
}

/** A thread (kthread_t): what Solaris keeps per task. */
export class Kthread {
  readonly task: Task;
  /** p0 for a thread of the kernel. */
  t_procp: Proc;

  constructor(task: Task, procp: Proc) {
    this.task = task;
    this.t_procp = procp;
  }
}
