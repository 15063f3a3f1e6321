-- What CodaLab 2 adds to the 1.7.3 schema. The wider types are part of V1 here: no CodaLab 1.7 database is SQLite.

-- At most one row per pair.
CREATE UNIQUE INDEX `user_group_unique` ON `user_group` (`user_id`, `group_uuid`);
CREATE UNIQUE INDEX `group_bundle_permission_unique` ON `group_bundle_permission` (`object_uuid`, `group_uuid`);
CREATE UNIQUE INDEX `group_object_permission_unique` ON `group_object_permission` (`object_uuid`, `group_uuid`);
CREATE UNIQUE INDEX `bundle_location_unique` ON `bundle_location` (`bundle_uuid`, `bundle_store_uuid`);
CREATE UNIQUE INDEX `worker_run_unique` ON `worker_run` (`run_uuid`);

-- Indexes for the hot queries.
CREATE INDEX `bundle_owner_index` ON `bundle` (`owner_id`, `state`);
CREATE INDEX `bundle_state_type_index` ON `bundle` (`state`, `bundle_type`);
CREATE INDEX `bundle_metadata_uuid_key_index` ON `bundle_metadata` (`bundle_uuid`, `metadata_key`);
CREATE INDEX `bundle_dependency_parent_index` ON `bundle_dependency` (`parent_uuid`, `child_uuid`);
CREATE INDEX `group_bundle_permission_group_index` ON `group_bundle_permission` (`group_uuid`, `permission`, `object_uuid`);
CREATE INDEX `group_object_permission_group_index` ON `group_object_permission` (`group_uuid`, `permission`, `object_uuid`);
CREATE INDEX `worksheet_item_order_index` ON `worksheet_item` (`worksheet_uuid`, `sort_key`);
CREATE INDEX `worksheet_modified_index` ON `worksheet` (`date_last_modified`);
CREATE INDEX `user_verification_key_index` ON `user_verification` (`key`);
CREATE INDEX `user_reset_code_code_index` ON `user_reset_code` (`code`);
CREATE INDEX `oauth2_auth_code_code_index` ON `oauth2_auth_code` (`code`);
CREATE INDEX `oauth2_token_owner_index` ON `oauth2_token` (`client_id`, `user_id`, `expires`);
CREATE INDEX `worker_socket_worker_index` ON `worker_socket` (`user_id`, `worker_id`);

-- Refresh tokens outlive their access token.
ALTER TABLE `oauth2_token` ADD COLUMN `refresh_expires` DATETIME NULL;

-- Small facts about the instance.
CREATE TABLE IF NOT EXISTS `setting` (
  `name` VARCHAR(63) NOT NULL,
  `value` TEXT NOT NULL,
  PRIMARY KEY (`name`)
);

-- Rows to lock while something that has no unique index is checked and inserted (MySQL only; here for equality).
CREATE TABLE IF NOT EXISTS `named_lock` (
  `name` VARCHAR(63) NOT NULL,
  PRIMARY KEY (`name`)
);
INSERT OR IGNORE INTO `named_lock` (`name`) VALUES ('group_name'), ('worksheet_name'), ('user_name');

-- Messages to workers, kept until delivered. Times of these tables are Unix seconds.
CREATE TABLE IF NOT EXISTS `worker_message` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `run_uuid` VARCHAR(63) NULL,
  `type` VARCHAR(31) NOT NULL,
  `payload` TEXT NOT NULL,
  `created_at` BIGINT NOT NULL,
  `delivered_at` BIGINT NULL,
  `deliveries` INTEGER NOT NULL DEFAULT 0,
  `expires_at` BIGINT NULL
);
CREATE INDEX `worker_message_pending_index` ON `worker_message` (`user_id`, `worker_id`, `delivered_at`, `id`);
CREATE INDEX `worker_message_run_index` ON `worker_message` (`run_uuid`);
CREATE INDEX `worker_message_delivered_index` ON `worker_message` (`delivered_at`);

CREATE TABLE IF NOT EXISTS `scheduler_lease` (
  `name` VARCHAR(63) NOT NULL,
  `holder` VARCHAR(255) NOT NULL,
  `expires_at` BIGINT NOT NULL,
  PRIMARY KEY (`name`)
);

-- What is published where.
CREATE TABLE IF NOT EXISTS `bundle_contents` (
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `store_key` VARCHAR(63) NOT NULL,
  `placement` VARCHAR(255) NOT NULL,
  `generation` VARCHAR(40) NOT NULL,
  `kind` VARCHAR(8) NOT NULL,
  `format` VARCHAR(16) NOT NULL,
  `stored_bytes` BIGINT NOT NULL,
  `logical_bytes` BIGINT NOT NULL,
  `entries` BIGINT NOT NULL,
  `digest` VARCHAR(80) NULL,
  `manifest_digest` VARCHAR(80) NULL,
  `created` BIGINT NOT NULL,
  `verified` BIGINT NULL,
  PRIMARY KEY (`bundle_uuid`, `store_key`)
);

CREATE TABLE IF NOT EXISTS `upload_session` (
  `id` VARCHAR(40) NOT NULL,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `client_key` VARCHAR(127) NOT NULL,
  `params` TEXT NOT NULL,
  `store_key` VARCHAR(63) NOT NULL,
  `placement` VARCHAR(255) NOT NULL,
  `state` VARCHAR(12) NOT NULL,
  `committed` BIGINT NOT NULL,
  `size` BIGINT NULL,
  `digest` VARCHAR(80) NULL,
  `charged` BIGINT NOT NULL,
  `remote_id` TEXT NULL,
  `parts` TEXT NULL,
  `node` VARCHAR(64) NOT NULL,
  `lease_until` BIGINT NOT NULL,
  `error` TEXT NULL,
  `error_status` INTEGER NULL,
  `created` BIGINT NOT NULL,
  `updated` BIGINT NOT NULL,
  `expires` BIGINT NOT NULL,
  PRIMARY KEY (`id`)
);
CREATE INDEX `upload_session_state_index` ON `upload_session` (`state`, `expires`);
CREATE INDEX `upload_session_bundle_index` ON `upload_session` (`bundle_uuid`);

CREATE TABLE IF NOT EXISTS `store_trash` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `store_key` VARCHAR(63) NOT NULL,
  `placement` VARCHAR(255) NOT NULL,
  `path` TEXT NOT NULL,
  `created` BIGINT NOT NULL,
  `attempts` BIGINT NOT NULL DEFAULT 0,
  `last_error` TEXT NULL
);
