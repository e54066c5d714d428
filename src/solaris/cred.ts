// On whose behalf something is done (cred_t).

export class Cred {
  readonly cr_uid: number;
  readonly cr_gid: number;

  constructor(uid: number, gid = uid) {
    this.cr_uid = uid;
    this.cr_gid = gid;
  }
}

/** The kernel itself: it may do anything. */
export const kcred = new Cred(0);
