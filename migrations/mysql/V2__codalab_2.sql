-- What CodaLab 2 adds to the 1.7.3 schema. Only additions and wider types: a 1.7.3 server can still use the database.
-- Every statement may run again after an interruption; "exists already" errors are expected then and ignored.

-- Single-precision usage, 32-bit sort keys, 64 kB texts and a 64 kB dependency list lose data; emoji need four bytes.
UPDATE `user` SET `disk_quota` = 9e18 WHERE `disk_quota` > 9e18;
ALTER TABLE `user`
  MODIFY `time_quota` DOUBLE NOT NULL,
  MODIFY `time_used` DOUBLE NOT NULL,
  MODIFY `disk_quota` BIGINT NOT NULL,
  MODIFY `disk_used` BIGINT NOT NULL,
  MODIFY `first_name` VARCHAR(30) CHARACTER SET utf8mb4 NULL,
  MODIFY `last_name` VARCHAR(30) CHARACTER SET utf8mb4 NULL,
  MODIFY `affiliation` VARCHAR(255) CHARACTER SET utf8mb4 NULL;
ALTER TABLE `bundle`
  MODIFY `command` MEDIUMTEXT NULL,
  MODIFY `storage_type` VARCHAR(255) NULL;
ALTER TABLE `bundle_metadata` MODIFY `metadata_value` MEDIUMTEXT NOT NULL;
ALTER TABLE `worksheet` MODIFY `title` VARCHAR(255) CHARACTER SET utf8mb4 NULL;
ALTER TABLE `worksheet_item`
  MODIFY `value` MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
  MODIFY `sort_key` BIGINT NULL;
ALTER TABLE `worker_dependency` MODIFY `dependencies` MEDIUMBLOB NOT NULL;

-- A gcs value did not fit the old ENUM and was stored as ''.
UPDATE `bundle` SET `storage_type` = NULL WHERE `storage_type` = '';

-- Sort keys: never NULL, never negative, unique within a worksheet.
UPDATE `worksheet_item` SET `sort_key` = `id` WHERE `sort_key` IS NULL;
UPDATE `worksheet_item` `i` JOIN (
    SELECT `worksheet_uuid`, MIN(`sort_key`) AS `lowest` FROM `worksheet_item` GROUP BY `worksheet_uuid`
  ) `m` ON `m`.`worksheet_uuid` = `i`.`worksheet_uuid`
  SET `i`.`sort_key` = `i`.`sort_key` - `m`.`lowest` WHERE `m`.`lowest` < 0;
UPDATE `worksheet_item` `i` JOIN (
    SELECT `id`, ROW_NUMBER() OVER (PARTITION BY `worksheet_uuid` ORDER BY `sort_key`, `id`) - 1 AS `place`
    FROM `worksheet_item` WHERE `worksheet_uuid` IN (
      SELECT `worksheet_uuid` FROM `worksheet_item` GROUP BY `worksheet_uuid`, `sort_key` HAVING COUNT(*) > 1)
  ) `r` ON `r`.`id` = `i`.`id` SET `i`.`sort_key` = `r`.`place`;

-- At most one row per pair; of several the strongest, else the oldest stays.
DELETE `a` FROM `user_group` `a` JOIN `user_group` `b`
  ON `a`.`group_uuid` = `b`.`group_uuid` AND `a`.`user_id` = `b`.`user_id`
  AND (COALESCE(`a`.`is_admin`, 0) < COALESCE(`b`.`is_admin`, 0)
    OR (COALESCE(`a`.`is_admin`, 0) = COALESCE(`b`.`is_admin`, 0) AND `a`.`id` > `b`.`id`));
CREATE UNIQUE INDEX `user_group_unique` ON `user_group` (`user_id`, `group_uuid`);
DELETE `a` FROM `group_bundle_permission` `a` JOIN `group_bundle_permission` `b`
  ON `a`.`group_uuid` = `b`.`group_uuid` AND `a`.`object_uuid` = `b`.`object_uuid`
  AND (`a`.`permission` < `b`.`permission` OR (`a`.`permission` = `b`.`permission` AND `a`.`id` > `b`.`id`));
CREATE UNIQUE INDEX `group_bundle_permission_unique` ON `group_bundle_permission` (`object_uuid`, `group_uuid`);
DELETE `a` FROM `group_object_permission` `a` JOIN `group_object_permission` `b`
  ON `a`.`group_uuid` = `b`.`group_uuid` AND `a`.`object_uuid` = `b`.`object_uuid`
  AND (`a`.`permission` < `b`.`permission` OR (`a`.`permission` = `b`.`permission` AND `a`.`id` > `b`.`id`));
CREATE UNIQUE INDEX `group_object_permission_unique` ON `group_object_permission` (`object_uuid`, `group_uuid`);
DELETE `a` FROM `bundle_location` `a` JOIN `bundle_location` `b`
  ON `a`.`bundle_uuid` = `b`.`bundle_uuid` AND `a`.`bundle_store_uuid` = `b`.`bundle_store_uuid` AND `a`.`id` > `b`.`id`;
CREATE UNIQUE INDEX `bundle_location_unique` ON `bundle_location` (`bundle_uuid`, `bundle_store_uuid`);
ALTER TABLE `worker_run` ADD COLUMN `id` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY;
DELETE `a` FROM `worker_run` `a` JOIN `worker_run` `b` ON `a`.`run_uuid` = `b`.`run_uuid` AND `a`.`id` < `b`.`id`;
CREATE UNIQUE INDEX `worker_run_unique` ON `worker_run` (`run_uuid`);

-- Indexes for the hot queries.
CREATE INDEX `bundle_owner_index` ON `bundle` (`owner_id`(63), `state`);
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
  `value` MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

-- Rows to lock while something that has no unique index is checked and inserted.
CREATE TABLE IF NOT EXISTS `named_lock` (
  `name` VARCHAR(63) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT IGNORE INTO `named_lock` (`name`) VALUES ('group_name'), ('worksheet_name'), ('user_name');

-- Messages to workers, kept until delivered. Times of these tables are Unix seconds.
CREATE TABLE IF NOT EXISTS `worker_message` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `run_uuid` VARCHAR(63) NULL,
  `type` VARCHAR(31) NOT NULL,
  `payload` MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
  `created_at` BIGINT NOT NULL,
  `delivered_at` BIGINT NULL,
  `deliveries` INTEGER NOT NULL DEFAULT 0,
  `expires_at` BIGINT NULL,
  PRIMARY KEY (`id`),
  KEY `worker_message_pending_index` (`user_id`, `worker_id`, `delivered_at`, `id`),
  KEY `worker_message_run_index` (`run_uuid`),
  KEY `worker_message_delivered_index` (`delivered_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `scheduler_lease` (
  `name` VARCHAR(63) NOT NULL,
  `holder` VARCHAR(255) NOT NULL,
  `expires_at` BIGINT NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

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
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `upload_session` (
  `id` VARCHAR(40) NOT NULL,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `client_key` VARCHAR(127) NOT NULL,
  `params` TEXT CHARACTER SET utf8mb4 NOT NULL,
  `store_key` VARCHAR(63) NOT NULL,
  `placement` VARCHAR(255) NOT NULL,
  `state` VARCHAR(12) NOT NULL,
  `committed` BIGINT NOT NULL,
  `size` BIGINT NULL,
  `digest` VARCHAR(80) NULL,
  `charged` BIGINT NOT NULL,
  `remote_id` TEXT NULL,
  `parts` MEDIUMTEXT NULL,
  `node` VARCHAR(64) NOT NULL,
  `lease_until` BIGINT NOT NULL,
  `error` TEXT CHARACTER SET utf8mb4 NULL,
  `error_status` INTEGER NULL,
  `created` BIGINT NOT NULL,
  `updated` BIGINT NOT NULL,
  `expires` BIGINT NOT NULL,
  PRIMARY KEY (`id`),
  KEY `upload_session_state_index` (`state`, `expires`),
  KEY `upload_session_bundle_index` (`bundle_uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `store_trash` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `store_key` VARCHAR(63) NOT NULL,
  `placement` VARCHAR(255) NOT NULL,
  `path` TEXT CHARACTER SET utf8mb4 NOT NULL,
  `created` BIGINT NOT NULL,
  `attempts` BIGINT NOT NULL DEFAULT 0,
  `last_error` TEXT CHARACTER SET utf8mb4 NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
